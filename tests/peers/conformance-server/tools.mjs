// Tools that need nothing from their client but its ear.

import { fromJsonSchema } from '@modelcontextprotocol/server';
import { audio, image, pause, resource, result, text } from './content.mjs';
import { argument } from './forms.mjs';

const PROGRESS_TOTAL = 100;

/** Keywords of JSON Schema 2020-12 that a careless intermediary would drop. */
const RICH_SCHEMA = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: {
        address: {
            $anchor: 'addressDef',
            type: 'object',
            properties: { street: { type: 'string' }, city: { type: 'string' } }
        }
    },
    properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' }
    },
    allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
    if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
    then: { required: ['phone'] },
    else: { required: ['email'] },
    additionalProperties: false
};

/** An argument that a modern client repeats in the header `Mcp-Param-Region`. */
const HEADER_SCHEMA = {
    type: 'object',
    properties: { region: { type: 'string', 'x-mcp-header': 'Region' } },
    required: ['region']
};

async function progress(context) {
    const progressToken = context.mcpReq._meta?.progressToken;
    for (const done of [0, PROGRESS_TOTAL / 2, PROGRESS_TOTAL]) {
        if (progressToken !== undefined) {
            await context.mcpReq.notify({
                method: 'notifications/progress',
                params: { progressToken, progress: done, total: PROGRESS_TOTAL, message: `${done} of ${PROGRESS_TOTAL}` }
            });
        }
        // Also after the last step: clients drop progress that arrives together with the result.
        await pause();
    }
    return result(text(`progress token ${JSON.stringify(progressToken)}`));
}

export function tools(server) {
    let count = 0;
    const simple = (name, description, run) => server.registerTool(name, { description }, run);

    simple('test_simple_text', 'Answers with text', async () =>
        result(text('This is a simple text response for testing.'))
    );
    simple('test_image_content', 'Answers with an image', async () => result(image()));
    simple('test_audio_content', 'Answers with audio', async () => result(audio()));
    simple('test_embedded_resource', 'Answers with an embedded resource', async () =>
        result(resource('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'))
    );
    simple('test_multiple_content_types', 'Answers with text, an image and a resource', async () =>
        result(
            text('Multiple content types test:'),
            image(),
            resource('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}')
        )
    );
    simple('test_tool_with_progress', 'Reports progress three times', progress);
    simple('test_error_handling', 'Fails', async () => {
        throw new Error('This tool intentionally returns an error for testing');
    });
    simple('test_tool_with_logging', 'Logs three times', async context => {
        for (const line of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
            await context.mcpReq.log('info', line);
            await pause();
        }
        return result(text('logged'));
    });
    simple('test_logging_tool', 'Logs once', async context => {
        await context.mcpReq.log('info', 'test_logging_tool was called');
        return result(text('logged'));
    });
    simple('test_reconnection', 'Closes its stream before it answers', async context => {
        context.http?.closeSSE?.();
        await pause();
        await pause();
        return result(text('Reconnection test completed'));
    });
    simple('test_counter', 'Counts its calls on this connection', async () => result(text(String(++count))));
    server.registerTool(
        'greet',
        { description: 'Says hello, at once', inputSchema: argument('name') },
        async ({ name }) => result(text(`Hello, ${name}!`))
    );
    server.registerTool(
        'json_schema_2020_12_tool',
        { description: 'Takes arguments described with JSON Schema 2020-12', inputSchema: fromJsonSchema(RICH_SCHEMA) },
        async args => result(text(JSON.stringify(args)))
    );
    server.registerTool(
        'test_header_parameter',
        { description: 'Takes an argument that is also a header', inputSchema: fromJsonSchema(HEADER_SCHEMA) },
        async ({ region }) => result(text(region))
    );
}
