// The certified OpenID provider of npm as a server on loopback.
// usage: node oidc_provider.mjs PORT    with NODE_PATH's modules beside it: it is run from the provider's folder
// Clients: terminal (public: code with PKCE, device, refresh) and service (client credentials). Whoever signs in is who
// they say, with any password. Access tokens are JWTs for the audience `terminal`, as the ID tokens are.
// POST /rotate makes a new signing key, which is used at once; the old one stays in the set.
import crypto from 'node:crypto';
import http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [, , port, modules] = process.argv;
const entry = createRequire(`${modules}/`).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(entry));
const issuer = `http://127.0.0.1:${port}`;
const audience = 'terminal';

const device = 'urn:ietf:params:oauth:grant-type:device_code';
const clients = [
  {
    client_id: 'terminal', token_endpoint_auth_method: 'none', application_type: 'native',
    redirect_uris: ['http://127.0.0.1/callback'], response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token', device],
  },
  {
    client_id: 'service', client_secret: 'service-secret', redirect_uris: [], response_types: [],
    grant_types: ['client_credentials'],
  },
];

// Outlives a rotation, which makes another provider.
const store = new Map();
class Memory {
  constructor(kind) { this.kind = kind; }
  key(id) { return `${this.kind}:${id}`; }
  async upsert(id, payload, seconds) {
    store.set(this.key(id), { payload, until: seconds ? Date.now() + seconds * 1000 : Infinity });
  }
  async find(id) {
    const entry = store.get(this.key(id));
    return entry && entry.until > Date.now() ? entry.payload : undefined;
  }
  async findBy(field, value) {
    for (const [key, { payload }] of store) {
      if (key.startsWith(`${this.kind}:`) && payload[field] === value) return payload;
    }
  }
  async findByUid(uid) { return this.findBy('uid', uid); }
  async findByUserCode(code) { return this.findBy('userCode', code); }
  async consume(id) { (await this.find(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { store.delete(this.key(id)); }
  async revokeByGrantId(grant) {
    for (const [key, { payload }] of store) if (payload.grantId === grant) store.delete(key);
  }
}

const keys = [];
let serve;
function rotate() {
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid: crypto.randomUUID(), use: 'sig', alg: 'RS256' });
  serve = new Provider(issuer, {
    adapter: Memory, clients, jwks: { keys: [...keys] }, cookies: { keys: ['of a test'] },
    pkce: { required: () => true },
    scopes: ['openid', 'offline_access'],
    findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    features: {
      devInteractions: { enabled: true }, deviceFlow: { enabled: true }, clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true, defaultResource: () => 'urn:attach', useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: 'openid', audience, accessTokenFormat: 'jwt' }),
      },
    },
    ttl: { AccessToken: 600, ClientCredentials: 600, DeviceCode: 600, Grant: 3600, IdToken: 600, Interaction: 600, Session: 3600 },
  }).callback();
}

rotate();
http.createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    rotate();
    response.end();
  } else {
    serve(request, response);
  }
}).listen(Number(port), '127.0.0.1');
