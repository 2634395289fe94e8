// A client that somebody else has written, certified for FAPI 2.0, goes the whole way: discovery, an
// access token by private_key_jwt and DPoP, a request about people, introspection, revocation.
//
// node client.mjs keys                        prints a key pair: {"public": …, "private": …}
// node client.mjs run ISSUER CLIENT PURPOSE   reads the private key from standard input, prints what it met

import * as oauth from 'oauth4webapi'

const [, , what, issuer, clientID, purpose] = process.argv
const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }

if (what === 'keys') {
  const pair = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const told = {}
  for (const [name, key] of [['public', pair.publicKey], ['private', pair.privateKey]]) {
    told[name] = { ...(await crypto.subtle.exportKey('jwk', key)), kid: 'test' }
  }
  console.log(JSON.stringify(told))
} else {
  console.log(JSON.stringify(await run()))
}

async function run() {
  let text = ''
  for await (const chunk of process.stdin) text += chunk
  const key = await crypto.subtle.importKey('jwk', JSON.parse(text), algorithm, false, ['sign'])
  const insecure = { [oauth.allowInsecureRequests]: true } // the test listens on a loopback address
  const client = { client_id: clientID }
  const authentication = () => oauth.PrivateKeyJwt({ key, kid: 'test' })

  const url = new URL(issuer)
  const as = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure }))
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))

  const details = JSON.stringify([{ type: as.authorization_details_types_supported[0], purpose, datasets: ['individuals'] }])
  const ask = async () => {
    const response = await oauth.clientCredentialsGrantRequest(as, client, authentication(), { authorization_details: details }, { DPoP, ...insecure })
    return oauth.processClientCredentialsResponse(as, client, response)
  }
  const granted = await again(ask)
  const introspect = async () =>
    oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, authentication(), granted.access_token, insecure))
  const read = async () => {
    const about = new URL(`/v1/individuals?purpose=${purpose}&limit=1`, issuer)
    const response = await oauth.protectedResourceRequest(granted.access_token, 'GET', about, undefined, undefined, { DPoP, ...insecure })
    await response.text()
    return response.status
  }

  const met = { type: granted.token_type, expires: granted.expires_in, details: granted.authorization_details }
  met.read = await again(read)
  met.active = (await introspect()).active
  const wantsSigned = { ...client, introspection_signed_response_alg: 'EdDSA' }
  const signed = await oauth.introspectionRequest(as, wantsSigned, authentication(), granted.access_token, insecure)
  const verified = await oauth.processIntrospectionResponse(as, wantsSigned, signed)
  await oauth.validateApplicationLevelSignature(as, signed, insecure)
  met.signed = verified.active
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication(), granted.access_token, insecure))
  met.revoked = !(await introspect()).active
  met.after = await again(read).catch((err) => err.cause?.[0]?.parameters?.error ?? String(err))
  return met
}

// again does something once more when the server wants a nonce that it has just given.
async function again(something) {
  try {
    return await something()
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    return something()
  }
}
