// An OpenID provider of another make than ours: see StartOIDCProvider in
// ../oidc.go, which runs this and says what goes in.
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

const options = JSON.parse(process.env.OIDC_PROVIDER)

const key = (type, parameters, more) =>
  ({ ...generateKeyPairSync(type, parameters).privateKey.export({ format: 'jwk' }), ...more })

const server = createServer()
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, {
    // As real sets, it has keys that can't verify an access token of ours.
    jwks: {
      keys: [
        key('rsa', { modulusLength: 2048 }, { kid: 'encryption', use: 'enc', alg: 'RSA-OAEP' }),
        key('rsa', { modulusLength: 2048 }, { kid: 'rsa', use: 'sig' }),
        key('ec', { namedCurve: 'P-256' }, { kid: 'ec', use: 'sig' }),
      ],
    },
    clients: [{
      client_id: options.client,
      client_secret: options.secret,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: 'client_secret_basic',
    }],
    scopes: options.scopes,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: true },
      encryption: { enabled: true }, // or it refuses its key for that
      requestObjects: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          scope: options.scopes.join(' '),
          audience: resource,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: options.algorithm } },
        }),
      },
    },
    ttl: { ClientCredentials: 600 },
  })
  server.on('request', provider.callback())
  console.log(`issuer ${issuer}`)
})
