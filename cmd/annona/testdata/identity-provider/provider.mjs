// An identity provider that somebody else has written, certified for OpenID Connect, as a ministry runs it.
//
// node provider.mjs PORT AUDIENCE LOGOUT   serves on a loopback address; its keys are new with every start.
//   Two machines, loader and prover, get tokens for AUDIENCE; people sign in by the name that
//   login_hint says, for the application app. LOGOUT is told when one of them signs out.

import { generateKeyPairSync } from 'node:crypto'

import Provider from 'oidc-provider'

const [, , port, audience, logout] = process.argv
const issuer = `http://127.0.0.1:${port}`
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const machine = { client_secret: 'secret-of-a-machine-in-a-test', redirect_uris: [], response_types: [], grant_types: ['client_credentials'] }

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: `key-${process.pid}` }] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  cookies: { keys: ['a-key-of-a-test'] },
  clients: [
    { client_id: 'loader', ...machine },
    { client_id: 'prover', ...machine, dpop_bound_access_tokens: true },
    {
      client_id: 'app', client_secret: 'secret-of-an-application-in-a-test', redirect_uris: ['https://cases.example/back'],
      backchannel_logout_uri: logout, backchannel_logout_session_required: true,
    },
  ],
  fetch: (url, { dispatcher, ...options }) => fetch(url, options), // its own would tell no loopback address
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'annona', audience, accessTokenTTL: 300, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
    },
  },
  async extraTokenClaims(ctx, token) {
    if (token.kind !== 'AccessToken') return undefined
    const session = await provider.Session.findByUid(token.sessionUid)
    return { groups: [token.accountId.split('-')[0]], sid: session.sidFor(token.clientId), auth_time: session.loginTs, acr: 'silver' }
  },
  async loadExistingGrant(ctx) {
    const grant = new provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId })
    grant.addOIDCScope('openid')
    grant.addResourceScope(audience, 'annona')
    await grant.save()
    return grant
  },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
})

// Nobody types a password here: whoever login_hint names has signed in.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next()
  const { params } = await provider.interactionDetails(ctx.req, ctx.res)
  return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: params.login_hint } })
})
provider.on('server_error', (ctx, err) => console.error(err))
provider.listen(Number(port), '127.0.0.1', () => console.log('serving'))
