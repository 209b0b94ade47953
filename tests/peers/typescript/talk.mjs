// What the TypeScript clients do, whatever their SDK: list, call, answer, and print what happened as one line of JSON.
// The command line is the one of the Python clients; see tests/README.md.

const DEADLINE_MS = 30_000;

function parse(words, sdk) {
    const options = { mode: 'legacy', calls: [], answer: {}, capabilities: { elicitation: { form: {} } } };
    while (words.length > 0) {
        const flag = words.shift();
        if (flag === '--mode') options.mode = words.shift();
        else if (flag === '--call') options.calls.push([words.shift(), JSON.parse(words.shift())]);
        else if (flag === '--answer') options.answer = JSON.parse(words.shift());
        else if (flag === '--sample') {
            options.sample = words.shift();
            options.capabilities.sampling = {};
        } else if (flag === '--root') {
            options.root = words.shift();
            options.capabilities.roots = {};
        } else if (flag === '--http') options.transport = new sdk.Http(new URL(words.shift()));
        else if (flag === '--sse') options.transport = new sdk.Sse(new URL(words.shift()));
        else if (flag === '--stdio') {
            const [command, ...args] = words.splice(0);
            options.transport = new sdk.Stdio({ command, args });
        } else throw new Error(`unknown argument ${flag}`);
    }
    return options;
}

async function call(sdk, client, name, args) {
    const progress = [];
    const onprogress = ({ progress: done }) => void progress.push(done);
    try {
        const params = { name, arguments: args };
        const { content, isError } = await sdk.callTool(client, params, { onprogress, timeout: DEADLINE_MS });
        const text = content.flatMap(block => (block.type === 'text' ? [block.text] : [])).join('');
        return { text, isError: isError ?? false, progress };
    } catch (error) {
        if (!(error instanceof sdk.ProtocolError)) throw error;
        return { error: error.code, message: error.message, progress };
    }
}

function answering(sdk, client, options) {
    const asked = [];
    const answer = (method, what, result) =>
        sdk.setRequestHandler(client, method, async ({ params }) => {
            asked.push(what(params));
            return result;
        });
    answer('elicitation/create', params => params.message, { action: 'accept', content: options.answer });
    if (options.sample) {
        const content = { type: 'text', text: options.sample };
        const asks = params => params.messages[0].content.text;
        answer('sampling/createMessage', asks, { role: 'assistant', content, model: 'a-model' });
    }
    if (options.root) {
        answer('roots/list', () => 'roots', { roots: [{ uri: options.root }] });
    }
    return asked;
}

export async function talk(sdk) {
    const options = parse(process.argv.slice(2), sdk);
    const client = sdk.client({ name: 'typescript-peer', version: '1.0.0' }, options.capabilities, options.mode);
    const asked = answering(sdk, client, options);
    await client.connect(options.transport);
    const tools = (await client.listTools()).tools.map(tool => tool.name);
    const calls = [];
    for (const [name, args] of options.calls) {
        calls.push(await call(sdk, client, name, args));
    }
    console.log(JSON.stringify({ version: sdk.version(client), tools, calls, asked }));
    await client.close();
}
