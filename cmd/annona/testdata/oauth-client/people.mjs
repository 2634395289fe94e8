// The same client acts for a person: a pushed request, a code with PKCE, tokens bound to a key by DPoP,
// refresh, and a code that somebody shows again.
//
// node people.mjs ISSUER CLIENT PURPOSE   reads the private key from standard input, prints what it met

import * as oauth from 'oauth4webapi'

const [, , issuer, clientID, purpose] = process.argv
const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
const redirect = 'https://cases.example/back'

let text = ''
for await (const chunk of process.stdin) text += chunk
const key = await crypto.subtle.importKey('jwk', JSON.parse(text), algorithm, false, ['sign'])
const insecure = { [oauth.allowInsecureRequests]: true } // the test listens on a loopback address
const client = { client_id: clientID }
const authentication = () => oauth.PrivateKeyJwt({ key, kid: 'test' })
const url = new URL(issuer)
const as = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure }))
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))

const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const asked = {
  response_type: 'code', redirect_uri: redirect, state, code_challenge_method: 'S256',
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  authorization_details: JSON.stringify([{ type: 'annona_exchange', purpose, datasets: ['individuals'] }]),
}
const pushed = await again(async () =>
  oauth.processPushedAuthorizationResponse(as, client, await oauth.pushedAuthorizationRequest(as, client, authentication(), asked, { DPoP, ...insecure })))

const browser = new URL(as.authorization_endpoint)
browser.search = new URLSearchParams({ client_id: clientID, request_uri: pushed.request_uri })
const sent = await fetch(browser, { redirect: 'manual' })
const met = { sent: sent.status, life: pushed.expires_in }
const answer = oauth.validateAuthResponse(as, client, new URL(sent.headers.get('location')), state) // the issuer is in it

const take = async () =>
  oauth.processAuthorizationCodeResponse(as, client,
    await oauth.authorizationCodeGrantRequest(as, client, authentication(), answer, redirect, verifier, { DPoP, ...insecure }))
const first = await again(take)
met.type = first.token_type
met.details = first.authorization_details

const read = async (token) => {
  const about = new URL(`/v1/individuals?purpose=${purpose}&limit=1`, issuer)
  const response = await oauth.protectedResourceRequest(token, 'GET', about, undefined, undefined, { DPoP, ...insecure })
  await response.text()
  return response.status
}
met.read = await again(() => read(first.access_token))

const second = await again(async () =>
  oauth.processRefreshTokenResponse(as, client, await oauth.refreshTokenGrantRequest(as, client, authentication(), first.refresh_token, { DPoP, ...insecure })))
met.refreshed = await again(() => read(second.access_token))
const told = await oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, authentication(), second.access_token, insecure))
met.subject = told.sub
met.actor = told.act?.sub
met.class = told.acr

met.replayed = await again(take).then(() => 'taken', (err) => err.error ?? String(err))
met.after = await again(() => read(second.access_token)).catch((err) => err.cause?.[0]?.parameters?.error ?? String(err))
console.log(JSON.stringify(met))

// again does something once more when the server wants a nonce that it has just given.
async function again(something) {
  try {
    return await something()
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    return something()
  }
}
