// An application outside asks a person for leave to act for them, in a real browser: it is refused, it is
// allowed, the person ends it, and signs out everywhere. Prints what it met as JSON.
//
//   node consent.mjs URL INVITATION CLIENT PURPOSE PORT FOLDER-FOR-PICTURES   reads the key of the client from standard input
//
// The application waits for the browser on PORT, under the name cases.example.
import * as oauth from "oauth4webapi";
import { walk } from "./walk.mjs";

const [origin, invitation, clientID, purpose, port, pictures, program] = process.argv.slice(2);
const { met, browser, place, look, at, tabTo } = await walk(program, pictures, [`--host-resolver-rules=MAP cases.example:443 127.0.0.1:${port}`]);

let text = "";
for await (const chunk of process.stdin) text += chunk;
const key = await crypto.subtle.importKey("jwk", JSON.parse(text), { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
const insecure = { [oauth.allowInsecureRequests]: true }; // the test listens on a loopback address
const client = { client_id: clientID };
const redirect = "https://cases.example/back";
const proof = () => oauth.PrivateKeyJwt({ key, kid: "test" });
const issuer = new URL(origin);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure }));
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));

// The server has just given a nonce when it wants one.
async function again(something) {
  try {
    return await something();
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err;
    return something();
  }
}

// The application pushes what it asks for.
async function ask() {
  const verifier = oauth.generateRandomCodeVerifier();
  const asked = {
    response_type: "code", redirect_uri: redirect, state: oauth.generateRandomState(), code_challenge_method: "S256",
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    authorization_details: JSON.stringify([{ type: "annona_exchange", purpose, datasets: ["individuals"] }]),
  };
  const pushed = await again(async () =>
    oauth.processPushedAuthorizationResponse(as, client, await oauth.pushedAuthorizationRequest(as, client, proof(), asked, { DPoP, ...insecure })));
  const to = new URL(as.authorization_endpoint);
  to.search = new URLSearchParams({ client_id: clientID, request_uri: pushed.request_uri });
  return { to: to.href, verifier, state: asked.state };
}

// What the browser has brought back.
async function back(page, asked) {
  await page.waitForURL((url) => url.host === "cases.example");
  return oauth.validateAuthResponse(as, client, new URL(page.url()), asked.state); // the issuer is in it
}

const take = (asked, answer) => again(async () =>
  oauth.processAuthorizationCodeResponse(as, client,
    await oauth.authorizationCodeGrantRequest(as, client, proof(), answer, redirect, asked.verifier, { DPoP, ...insecure })));
const refresh = (tokens) => again(async () =>
  oauth.processRefreshTokenResponse(as, client, await oauth.refreshTokenGrantRequest(as, client, proof(), tokens.refresh_token, { DPoP, ...insecure })));
const read = (tokens) => again(async () => {
  const about = new URL(`/v1/individuals?purpose=${purpose}&limit=1&fields=individual_id`, issuer);
  const response = await oauth.protectedResourceRequest(tokens.access_token, "GET", about, undefined, undefined, { DPoP, ...insecure });
  await response.text();
  return response.status;
});
const refusal = (tried) => tried.then(() => "none", (err) => err.error ?? err.cause?.[0]?.parameters?.error ?? String(err));

const consent = "Allow an application to act for you?";

// Answers by the keyboard alone, and comes back with what the application is told.
async function answer(page, word) {
  const asked = await ask();
  await page.goto(asked.to);
  await at(page, consent, "asked: " + word);
  await tabTo(page, word);
  await page.keyboard.press("Enter");
  return { asked, answer: await back(page, asked).catch((err) => err) };
}

try {
  const { page } = await place(true);
  await page.goto(`${origin}/signin/invitation`);
  await page.fill("#invitation", invitation);
  await page.keyboard.press("Enter");
  await at(page, "Choose how you sign in", "invitation accepted");
  await page.fill("#label", "Laptop");
  await page.getByRole("button", { name: "Register a passkey" }).click();
  await at(page, "Your account", "passkey registered");
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await at(page, "Sign in", "signed out");

  // Somebody who is not signed in signs in first, and is then asked.
  const first = await ask();
  await page.goto(first.to);
  await at(page, "Sign in", "signs in first");
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await at(page, consent, "then is asked");
  met.told = await page.locator("main").innerText();
  met.scriptsOfConsent = await page.locator("script").count();
  await look(page, "consent");
  await page.getByRole("button", { name: "Allow" }).click();
  const tokens = await take(first, await back(page, first));
  met.type = tokens.token_type;
  met.read = await read(tokens);

  // Refused: the application is told, and has nothing.
  const no = await answer(page, "Refuse");
  met.refused = no.answer.error;

  // The account says what acts for its owner, and ends it.
  await page.goto(`${origin}/account`);
  await at(page, "Your account", "the account");
  met.listed = await page.locator("#applications + ul").innerText();
  await look(page, "account-application");
  await page.getByRole("button", { name: /^End what/ }).click();
  await page.locator("#applications").waitFor({ state: "detached" });
  met.ended = [await refusal(read(tokens)), await refusal(refresh(tokens))];

  // Everywhere out ends what acts, and what was allowed and not begun yet.
  const yes = await answer(page, "Allow");
  const others = await take(yes.asked, yes.answer);
  met.again = await read(others);
  const late = await answer(page, "Allow");
  await page.goto(`${origin}/account`);
  await page.getByRole("button", { name: "Sign out everywhere" }).click();
  await at(page, "Sign in", "signed out everywhere");
  met.out = [await refusal(read(others)), await refusal(refresh(others)), await refusal(take(late.asked, late.answer))];
} catch (failed) {
  met.failed = String(failed.stack || failed);
} finally {
  await browser.close();
}
console.log(JSON.stringify(met));
