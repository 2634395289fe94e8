// Asks the browser for a passkey. What it is asked comes from the server, and what it says goes there.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function post(url, body) {
  const answer = await fetch(url, {
    method: "POST", body: JSON.stringify(body), credentials: "same-origin",
    headers: { "Content-Type": "application/json", "Annona-Form": document.body.dataset.form },
  });
  const said = await answer.json();
  if (!answer.ok) {
    throw Object.assign(new Error(said.error), { told: true, code: said.code });
  }
  return said;
}

const withBytes = (list) => (list || []).map((c) => ({ ...c, id: bytes(c.id) }));

async function create(options) {
  const o = options.publicKey;
  const made = await navigator.credentials.create({ publicKey: {
    ...o, challenge: bytes(o.challenge), user: { ...o.user, id: bytes(o.user.id) }, excludeCredentials: withBytes(o.excludeCredentials),
  } });
  return { response: {
    attestationObject: text(made.response.attestationObject), clientDataJSON: text(made.response.clientDataJSON),
    transports: made.response.getTransports ? made.response.getTransports() : [],
  }, made };
}

async function get(options) {
  const o = options.publicKey;
  const made = await navigator.credentials.get({ publicKey: { ...o, challenge: bytes(o.challenge), allowCredentials: withBytes(o.allowCredentials) } });
  return { response: {
    authenticatorData: text(made.response.authenticatorData), clientDataJSON: text(made.response.clientDataJSON),
    signature: text(made.response.signature), userHandle: made.response.userHandle ? text(made.response.userHandle) : undefined,
  }, made };
}

async function ask(part, status) {
  status.className = "status";
  status.textContent = "Follow what your browser asks.";
  try {
    const options = await post(part.dataset.options, {});
    const { response, made } = await (part.dataset.passkey === "create" ? create(options) : get(options));
    const label = part.querySelector("input");
    const said = await post(part.dataset.answer, {
      back: part.dataset.back || "", label: label ? label.value : "",
      credential: { id: made.id, rawId: text(made.rawId), type: made.type, response, clientExtensionResults: made.getClientExtensionResults() },
    });
    location.assign(said.next);
  } catch (failed) {
    if (failed.code === "insufficient_user_authentication") {
      location.assign("/signin?back=/account&acr=mfa&max_age=600");
      return;
    }
    status.className = "status failed";
    status.textContent = failed.told ? failed.message : "The browser gave no passkey. Try again.";
  }
}

for (const part of document.querySelectorAll("[data-passkey]")) {
  const button = part.querySelector("button");
  const status = part.querySelector(".status");
  if (window.PublicKeyCredential) {
    button.disabled = false;
    button.addEventListener("click", () => ask(part, status));
  } else {
    status.textContent = "This browser knows no passkeys.";
  }
}
