// An official client (SDK 1.x or 2.x) that knows nothing but the URL of its server and its own credentials at the issuer: it has
// to find where tokens come from by itself. Prints the names of the tools.
// usage: authorized.mjs (v1 | v2) (http | sse) URL ISSUER

const [generation, transport, url, expectedIssuer] = process.argv.slice(2);
const SDK = {
    v1: async () => ({
        ...(await import('@modelcontextprotocol/sdk/client/index.js')),
        ...(await import('@modelcontextprotocol/sdk/client/streamableHttp.js')),
        ...(await import('@modelcontextprotocol/sdk/client/sse.js')),
        ...(await import('@modelcontextprotocol/sdk/client/auth-extensions.js'))
    }),
    v2: () => import('@modelcontextprotocol/client')
};
const { Client, ClientCredentialsProvider, StreamableHTTPClientTransport, SSEClientTransport } = await SDK[generation]();
// For this grant the SDK asks for the scope that it is given, and not for the one of the challenge.
const credentials = { clientId: 'program', clientSecret: 'secret', scope: 'mcp' };
const authProvider = new ClientCredentialsProvider({ ...credentials, expectedIssuer });
const Transport = transport === 'sse' ? SSEClientTransport : StreamableHTTPClientTransport;
const client = new Client({ name: 'authorized', version: '1' }, { capabilities: {} });
await client.connect(new Transport(new URL(url), { authProvider }));
const { tools } = await client.listTools();
console.log(JSON.stringify(tools.map(tool => tool.name)));
await client.close();
