// Tools of the eras up to 2025-11-25: the server asks its client, or logs to it, in the middle of a call.

import { fromJsonSchema } from '@modelcontextprotocol/server';
import { form, pause, result, text } from './content.mjs';

const DEFAULTS = {
    name: { type: 'string', description: 'User name', default: 'John Doe' },
    age: { type: 'integer', description: 'User age', default: 30 },
    score: { type: 'number', description: 'User score', default: 95.5 },
    status: { type: 'string', description: 'User status', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', description: 'Verification status', default: true }
};

const titled = (...titles) => titles.map((title, index) => ({ const: `value${index + 1}`, title }));

const ENUMS = {
    untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
    titledSingle: { type: 'string', oneOf: titled('First Option', 'Second Option', 'Third Option') },
    legacyEnum: {
        type: 'string',
        enum: ['opt1', 'opt2', 'opt3'],
        enumNames: ['Option One', 'Option Two', 'Option Three']
    },
    untitledMulti: {
        type: 'array',
        minItems: 1,
        maxItems: 3,
        items: { type: 'string', enum: ['option1', 'option2', 'option3'] }
    },
    titledMulti: {
        type: 'array',
        minItems: 1,
        maxItems: 3,
        items: { anyOf: titled('First Choice', 'Second Choice', 'Third Choice') }
    }
};

const argument = name => fromJsonSchema(form({ [name]: { type: 'string' } }));

async function elicit(context, message, requestedSchema) {
    const { action, content } = await context.mcpReq.elicitInput({ mode: 'form', message, requestedSchema });
    return result(text(`action=${action}, content=${JSON.stringify(content ?? {})}`));
}

async function sample(context, prompt) {
    const { content } = await context.mcpReq.requestSampling({
        messages: [{ role: 'user', content: text(prompt) }],
        maxTokens: 100
    });
    return result(text(`LLM response: ${content.text}`));
}

export function legacyTools(server) {
    const simple = (name, description, run) => server.registerTool(name, { description }, run);

    simple('test_tool_with_logging', 'Logs three times', async context => {
        for (const line of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
            await context.mcpReq.log('info', line);
            await pause();
        }
        return result(text('logged'));
    });
    simple('test_reconnection', 'Closes its stream before it answers', async context => {
        context.http?.closeSSE?.();
        await pause();
        await pause();
        return result(text('Reconnection test completed'));
    });
    server.registerTool(
        'test_sampling',
        { description: 'Asks the client to sample', inputSchema: argument('prompt') },
        async ({ prompt }, context) => sample(context, prompt)
    );
    server.registerTool(
        'test_elicitation',
        { description: 'Asks the user', inputSchema: argument('message') },
        async ({ message }, context) => elicit(context, message, form({ response: { type: 'string' } }))
    );
    simple('test_elicitation_sep1034_defaults', 'Asks the user, with defaults', async context =>
        elicit(context, 'Please review the defaults', form(DEFAULTS, []))
    );
    simple('test_elicitation_sep1330_enums', 'Asks the user to choose', async context =>
        elicit(context, 'Please choose', form(ENUMS, []))
    );
}
