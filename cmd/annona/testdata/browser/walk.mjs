// What both walks share: a real browser, keys that it keeps, and a checker of accessibility.
import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export async function walk(program, pictures, more = []) {
  const met = { steps: {}, violations: [], scripts: [] };
  const browser = await chromium.launch({
    executablePath: program, headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", ...more],
  });

  // A place of work: a browser of its own, with or without something that keeps passkeys.
  async function place(authenticator) {
    const context = await browser.newContext({ viewport: { width: 900, height: 700 }, ignoreHTTPSErrors: true });
    context.setDefaultTimeout(120000);
    const page = await context.newPage();
    page.on("console", (line) => line.type() === "error" && met.scripts.push(line.text()));
    page.on("pageerror", (failed) => met.scripts.push(String(failed)));
    let keys;
    if (authenticator) {
      const devtools = await context.newCDPSession(page);
      await devtools.send("WebAuthn.enable");
      const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", { options: {
        protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true,
      } });
      keys = async () => (await devtools.send("WebAuthn.getCredentials", { authenticatorId })).credentials.length;
    }
    return { context, page, keys };
  }

  // Each page is looked at: a picture of it, and what a checker of accessibility says.
  async function look(page, title) {
    if (pictures) {
      await page.screenshot({ path: `${pictures}/${title}.png`, fullPage: true });
    }
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    for (const v of found.violations) {
      met.violations.push(`${title}: ${v.id}: ${v.nodes.map((n) => n.html).join(" | ").slice(0, 300)}`);
    }
  }

  async function at(page, text, step) {
    await page.getByRole("heading", { level: 1, name: text }).waitFor({ timeout: 120000 });
    met.steps[step] = true;
  }

  // By the keyboard alone: from the top of the page to a field or a button, as somebody without a mouse.
  async function tabTo(page, what) {
    await page.locator("body").press("Tab");
    for (let i = 0; i < 40; i++) {
      const here = await page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());
      if (here === what) return;
      await page.keyboard.press("Tab");
    }
    throw new Error(`the keyboard does not reach ${what}`);
  }

  return { met, browser, place, look, at, tabTo };
}
