// The client that the conformance suite's mock servers are shown, directly and through Shadowcat.
//
//   node client.mjs URL                              speaks Streamable HTTP to URL
//   node client.mjs --through PROGRAM ARGS... URL    speaks stdio to `PROGRAM ARGS... URL`
//
// The suite appends the URL, and names the scenario and the revision in the environment. `--speak REVISION`, before the
// rest, makes the client speak another revision than the mock server does.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { getDefaultEnvironment, StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const { MCP_CONFORMANCE_SCENARIO, MCP_CONFORMANCE_PROTOCOL_VERSION, MCP_CONFORMANCE_CONTEXT } = process.env;
const MODERN = '2026-07-28';

const SAMPLES = { number: 1, integer: 1, string: 'sample', boolean: true, array: [], object: {} };

/** Arguments that fit a tool's schema as far as its property types go. */
function sample(schema) {
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, { type }]) => [name, SAMPLES[type]]));
}

async function listTools(client) {
    return (await client.listTools()).tools;
}

/** Calls every tool. What a call should have looked like is for the suite to judge; a failed one is only logged. */
async function callEach(client) {
    for (const { name, inputSchema } of await listTools(client)) {
        await client.callTool({ name, arguments: sample(inputSchema) }).catch(error => console.error(name, error));
    }
}

async function tour(client) {
    await callEach(client);
    for (const { uri } of (await client.listResources()).resources) {
        await client.readResource({ uri });
    }
    for (const { name } of (await client.listPrompts()).prompts) {
        await client.getPrompt({ name });
    }
}

/** Calls what the suite asks for; the tools are listed first, so that their header annotations are known. */
async function callAsTold(client) {
    await listTools(client);
    for (const call of JSON.parse(MCP_CONFORMANCE_CONTEXT).toolCalls) {
        await client.callTool(call);
    }
}

async function echoSchema(client) {
    const { inputSchema } = (await listTools(client)).find(tool => tool.name === 'json_schema_2020_12_tool');
    await client.callTool({ name: 'json_schema_echo', arguments: { schema: inputSchema } });
}

const SCENARIOS = {
    initialize: listTools,
    tools_call: callEach,
    'elicitation-sep1034-client-defaults': callEach,
    'sse-retry': callEach,
    'request-metadata': listTools,
    'sep-2322-client-request-state': callEach,
    'http-standard-headers': tour,
    'http-custom-headers': callAsTold,
    'http-invalid-tool-headers': callEach,
    'json-schema-ref-no-deref': listTools,
    'json-schema-2020-12-preservation': echoSchema
};

function transport([first, program, ...rest]) {
    return first === '--through'
        ? new StdioClientTransport({ command: program, args: rest, env: getDefaultEnvironment() })
        : new StreamableHTTPClientTransport(new URL(first));
}

const words = process.argv.slice(2);
const revision = words[0] === '--speak' ? words.splice(0, 2)[1] : MCP_CONFORMANCE_PROTOCOL_VERSION;
const client = new Client(
    { name: 'conformance-client', version: '1.0.0' },
    {
        capabilities: { elicitation: { form: { applyDefaults: true } } },
        versionNegotiation: { mode: revision === MODERN ? { pin: MODERN } : 'legacy' }
    }
);
// An empty answer: what the form has defaults for, the SDK fills in.
client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: {} }));
await client.connect(transport(words));
await SCENARIOS[MCP_CONFORMANCE_SCENARIO](client);
await client.close();
