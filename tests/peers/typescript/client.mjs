// A client on the official TypeScript SDK (2.x): lists, calls, answers, and prints what happened as one line of JSON.
// The command line is the one of the Python clients; see tests/README.md.

import { Client, ProtocolError, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const DEADLINE_MS = 30_000;

function parse(words) {
    const options = { mode: 'legacy', calls: [], answer: {} };
    while (words.length > 0) {
        const flag = words.shift();
        if (flag === '--mode') options.mode = words.shift();
        else if (flag === '--call') options.calls.push([words.shift(), JSON.parse(words.shift())]);
        else if (flag === '--answer') options.answer = JSON.parse(words.shift());
        else if (flag === '--http') options.transport = new StreamableHTTPClientTransport(new URL(words.shift()));
        else if (flag === '--sse') options.transport = new SSEClientTransport(new URL(words.shift()));
        else if (flag === '--stdio') {
            const [command, ...args] = words.splice(0);
            options.transport = new StdioClientTransport({ command, args });
        } else throw new Error(`unknown argument ${flag}`);
    }
    return options;
}

async function call(client, name, args) {
    const progress = [];
    const onprogress = ({ progress: done }) => void progress.push(done);
    try {
        const { content, isError } = await client.callTool({ name, arguments: args }, { onprogress, timeout: DEADLINE_MS });
        const text = content.flatMap(block => (block.type === 'text' ? [block.text] : [])).join('');
        return { text, isError: isError ?? false, progress };
    } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        return { error: error.code, message: error.message, progress };
    }
}

const options = parse(process.argv.slice(2));
const named = ['legacy', 'auto'].includes(options.mode);
const asked = [];
const client = new Client(
    { name: 'typescript-peer', version: '1.0.0' },
    {
        capabilities: { elicitation: { form: {} } },
        versionNegotiation: { mode: named ? options.mode : { pin: options.mode } }
    }
);
client.setRequestHandler('elicitation/create', async ({ params }) => {
    asked.push(params.message);
    return { action: 'accept', content: options.answer };
});
await client.connect(options.transport);
const tools = (await client.listTools()).tools.map(tool => tool.name);
const calls = [];
for (const [name, args] of options.calls) {
    calls.push(await call(client, name, args));
}
console.log(JSON.stringify({ version: client.getNegotiatedProtocolVersion(), tools, calls, asked }));
await client.close();
