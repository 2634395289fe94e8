// Walks through the pages on which people sign in, as two people with keyboards would. Prints what it
// met as JSON.
//
//   node browser.mjs URL INVITATION NAME FOLDER-FOR-PICTURES
import { createHmac } from "node:crypto";
import { walk } from "./walk.mjs";

const [origin, invitation, name, pictures, program] = process.argv.slice(2);
const { met, browser, place, look, at, tabTo } = await walk(program, pictures);
const heading = (page) => page.locator("h1").innerText();

// The code that an app shows, so many steps from now.
function code(secret, steps) {
  const letters = "abcdefghijklmnopqrstuvwxyz234567";
  const bits = [...secret.replaceAll(" ", "")].map((c) => letters.indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
  const moment = Buffer.alloc(8);
  moment.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + steps));
  const sum = createHmac("sha1", key).update(moment).digest();
  const from = sum[19] & 15;
  return String((sum.readUInt32BE(from) & 0x7fffffff) % 1000000).padStart(6, "0");
}

const password = "seven lanterns on the quay";

async function byPassword(page, shown) {
  await page.goto(`${origin}/signin`);
  await tabTo(page, "name");
  await page.keyboard.type(name);
  await tabTo(page, "password");
  await page.keyboard.type(password);
  await tabTo(page, "code");
  await page.keyboard.type(shown);
  await page.keyboard.press("Enter");
}

try {
  const { page, keys } = await place(true);

  // An invitation, and a passkey.
  await page.goto(`${origin}/account`);
  await at(page, "Sign in", "nobody is sent to sign in");
  await look(page, "sign-in");
  await page.getByRole("link", { name: "I have an invitation" }).click();
  await at(page, "Accept an invitation", "invitation");
  await page.fill("#invitation", "annona_invite_" + "a".repeat(32));
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await look(page, "invitation-refused");
  await page.fill("#invitation", invitation);
  await page.keyboard.press("Enter");
  await at(page, "Choose how you sign in", "invitation accepted");
  await look(page, "register");
  await page.fill("#label", "Laptop");
  await page.getByRole("button", { name: "Register a passkey" }).click();
  await at(page, "Your account", "passkey registered");
  met.keys = await keys();
  await look(page, "account-passkey");

  // Out, and in again by the passkey.
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await at(page, "Sign in", "signed out");
  const before = (await page.context().cookies()).find((c) => c.name.endsWith("annona-session"));
  met.cookieLeft = before !== undefined;
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await at(page, "Your account", "signed in by passkey");
  met.cookie = (await page.context().cookies()).find((c) => c.name.endsWith("annona-session"));

  // A password with an app for codes.
  await page.getByRole("link", { name: "Set up a password and an app" }).click();
  await at(page, "Choose a password", "password");
  await page.fill("#password", "short");
  await page.fill("#repeat", "short");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await look(page, "password-short");
  await page.fill("#password", password);
  await page.fill("#repeat", password);
  await page.keyboard.press("Enter");
  await at(page, "Set up your app for codes", "app");
  await look(page, "app");
  const secret = await page.locator("#secret").innerText();
  await page.fill("#code", "000000");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await page.fill("#code", code(secret, 0));
  await page.keyboard.press("Enter");
  await at(page, "Your recovery codes", "recovery codes");
  await look(page, "recovery-codes");
  const recovery = await page.locator(".codes code").allInnerTexts();
  met.recovery = recovery.length;
  await page.getByRole("link", { name: "I have written them down" }).click();
  await at(page, "Your account", "account with both");
  await look(page, "account-both");

  // Another place: password and code by the keyboard alone; the code opens once.
  const other = await place(false);
  const now = code(secret, 1);
  await byPassword(other.page, now);
  await at(other.page, "Your account", "signed in by password and code");
  await other.page.getByRole("button", { name: "Sign out", exact: true }).click();
  await at(other.page, "Sign in", "signed out there");
  await byPassword(other.page, now);
  await other.page.getByRole("alert").waitFor({ timeout: 120000 });
  met.steps["a code opens once"] = (await heading(other.page)) === "Sign in";
  await look(other.page, "sign-in-refused");

  // A recovery code, once.
  await byPassword(other.page, recovery[0]);
  await at(other.page, "Your account", "signed in by recovery code");
  const third = await place(false);
  await byPassword(third.page, recovery[0]);
  await third.page.getByRole("alert").waitFor({ timeout: 120000 });
  met.steps["a recovery code opens once"] = (await heading(third.page)) === "Sign in";

  // Step-up: a passkey is demanded, of somebody who signed in by a password and of somebody who has one.
  await other.page.goto(`${origin}/signin?back=/account&acr=phr`);
  await at(other.page, "Prove that it is you", "a password does not do where a passkey is demanded");
  met.onlyPasskey = (await other.page.locator("#password").count()) === 0;
  await look(other.page, "step-up");
  await page.goto(`${origin}/signin?back=/account&acr=phr&max_age=1`);
  await at(page, "Prove that it is you", "an old proof does not do");
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await at(page, "Your account", "stepped up");
  met.rotated = (await page.context().cookies()).find((c) => c.name.endsWith("annona-session")).value !== met.cookie.value;
  await look(page, "account-two-places");

  // Everywhere out: also at the other place.
  await page.getByRole("button", { name: "Sign out everywhere" }).click();
  await at(page, "Sign in", "signed out everywhere");
  await other.page.goto(`${origin}/account`);
  await at(other.page, "Sign in", "signed out at the other place");

  // A narrow window, and no scripts: the pages work.
  const plain = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 320, height: 600 } });
  const bare = await plain.newPage();
  await bare.goto(`${origin}/signin`);
  if (pictures) await bare.screenshot({ path: `${pictures}/narrow-without-scripts.png`, fullPage: true });
  met.narrow = await bare.locator("body").evaluate(() => document.documentElement.scrollWidth);
  await bare.fill("#name", name);
  await bare.fill("#password", password);
  await bare.fill("#code", recovery[1]);
  await bare.locator("#code").press("Enter");
  await at(bare, "Your account", "signed in without scripts");
} catch (failed) {
  met.failed = String(failed.stack || failed);
} finally {
  await browser.close();
}
console.log(JSON.stringify(met));
