// The tools that need their client, as the eras up to 2025-11-25 have it: the server asks in the middle of the call.
// Their twins in modern-tools.mjs have the same names, so that either era's requirements can be run against either server.

import { result, text } from './content.mjs';
import { argument, COLOR, CONFIRM, DEFAULTS, ENUMS, NAME, RESPONSE } from './forms.mjs';

const ask = (context, message, requestedSchema) =>
    context.mcpReq.elicitInput({ mode: 'form', message, requestedSchema });

const sample = (context, prompt, maxTokens = 100) =>
    context.mcpReq.requestSampling({ messages: [{ role: 'user', content: text(prompt) }], maxTokens });

const roots = context => context.mcpReq.send({ method: 'roots/list' });

async function elicit(context, message, requestedSchema) {
    const { action, content } = await ask(context, message, requestedSchema);
    return result(text(`action=${action}, content=${JSON.stringify(content ?? {})}`));
}

async function sampled(context, prompt) {
    const { content } = await sample(context, prompt);
    return result(text(`LLM response: ${content.text}`));
}

async function confirmed(context) {
    const { content } = await ask(context, 'Please confirm', CONFIRM);
    return result(text(content?.ok === true ? 'state-ok' : 'not confirmed'));
}

async function multiple(context) {
    await Promise.all([
        ask(context, 'What is your name?', NAME),
        sample(context, 'Generate a greeting', 50),
        roots(context)
    ]);
    return result(text('all answered'));
}

async function rounds(context) {
    const { content: who } = await ask(context, 'Step 1: What is your name?', NAME);
    const { content: likes } = await ask(context, 'Step 2: What is your favorite color?', COLOR);
    return result(text(`${who?.name} likes ${likes?.color}`));
}

export function legacyTools(server) {
    const simple = (name, description, run) => server.registerTool(name, { description }, run);

    server.registerTool(
        'test_sampling',
        { description: 'Asks the client to sample', inputSchema: argument('prompt') },
        async ({ prompt }, context) => sampled(context, prompt)
    );
    server.registerTool(
        'test_elicitation',
        { description: 'Asks the user', inputSchema: argument('message') },
        async ({ message }, context) => elicit(context, message, RESPONSE)
    );
    simple('test_elicitation_sep1034_defaults', 'Asks the user, with defaults', async context =>
        elicit(context, 'Please review the defaults', DEFAULTS)
    );
    simple('test_elicitation_sep1330_enums', 'Asks the user to choose', async context =>
        elicit(context, 'Please choose', ENUMS)
    );
    simple('test_input_required_result_elicitation', 'Asks the user for a name', async context => {
        const { content } = await ask(context, 'What is your name?', NAME);
        return result(text(`Hello, ${content?.name}!`));
    });
    simple('test_input_required_result_sampling', 'Asks the client to sample', async context =>
        sampled(context, 'What is the capital of France?')
    );
    simple('test_input_required_result_list_roots', 'Asks for the roots', async context =>
        result(text((await roots(context)).roots.map(root => root.uri).join(', ')))
    );
    simple('test_input_required_result_request_state', 'Asks for a confirmation', confirmed);
    simple('test_input_required_result_tampered_state', 'Asks for a confirmation', confirmed);
    simple('test_input_required_result_multiple_inputs', 'Asks for three things at once', multiple);
    simple('test_input_required_result_multi_round', 'Asks twice', rounds);
    simple('test_input_required_result_capabilities', 'Asks for what the client declared', async context => {
        const declared = server.server.getClientCapabilities();
        await Promise.all([
            declared?.elicitation && ask(context, 'What is your name?', NAME),
            declared?.sampling && sample(context, 'Generate a greeting')
        ]);
        return result(text('asked'));
    });
    simple('test_missing_capability', 'Needs a client that samples', async context =>
        sampled(context, 'Generate a greeting')
    );
    simple('test_streaming_elicitation', 'Asks for a confirmation', confirmed);
    simple('test_trigger_tool_change', 'Announces a change of the tools', async () => {
        await server.sendToolListChanged();
        return result(text('announced'));
    });
    simple('test_trigger_prompt_change', 'Announces a change of the prompts', async () => {
        await server.sendPromptListChanged();
        return result(text('announced'));
    });
}
