// The tools that need their client, as 2026-07-28 has it: what the server needs it returns as `input_required`.

import { randomBytes } from 'node:crypto';
import {
    acceptedContent,
    CLIENT_CAPABILITIES_META_KEY,
    createRequestStateCodec,
    inputRequired,
    inputResponse
} from '@modelcontextprotocol/server';
import { result, text } from './content.mjs';
import { argument, COLOR, CONFIRM, DEFAULTS, ENUMS, NAME, RESPONSE } from './forms.mjs';

/** Seals what a call must remember between its rounds; one key for all requests of this process. */
export const requestState = createRequestStateCodec({ key: randomBytes(32) });

const ASK_NAME = ask('What is your name?', NAME);
const ASK_CONFIRM = ask('Please confirm', CONFIRM);

function ask(message, requestedSchema) {
    return inputRequired.elicit({ message, requestedSchema });
}

function sampling(prompt, maxTokens = 100) {
    return inputRequired.createMessage({ messages: [{ role: 'user', content: text(prompt) }], maxTokens });
}

const accepted = (context, key) => acceptedContent(context.mcpReq.inputResponses, key);
const response = (context, key) => inputResponse(context.mcpReq.inputResponses, key);
const declared = context => context.mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {};

async function elicitation(context) {
    const user = accepted(context, 'user_name');
    return typeof user?.name === 'string'
        ? result(text(`Hello, ${user.name}!`))
        : inputRequired({ inputRequests: { user_name: ASK_NAME } });
}

async function elicit(context, message, requestedSchema) {
    const answer = response(context, 'answer');
    return answer.kind === 'elicit'
        ? result(text(`action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`))
        : inputRequired({ inputRequests: { answer: ask(message, requestedSchema) } });
}

async function sampled(context, prompt) {
    const answer = response(context, 'capital_question');
    return answer.kind === 'sampling'
        ? result(text(`LLM response: ${answer.result.content.text}`))
        : inputRequired({ inputRequests: { capital_question: sampling(prompt) } });
}

async function roots(context) {
    const answer = response(context, 'client_roots');
    return answer.kind === 'roots'
        ? result(text(answer.roots.map(root => root.uri).join(', ')))
        : inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
}

async function confirmed(context) {
    if (accepted(context, 'confirm') !== undefined && context.mcpReq.requestState()?.round === 1) {
        return result(text('state-ok'));
    }
    return inputRequired({ inputRequests: { confirm: ASK_CONFIRM }, requestState: await requestState.mint({ round: 1 }) });
}

async function multiple(context) {
    const keys = ['user_name', 'greeting', 'client_roots'];
    if (keys.every(key => response(context, key).kind !== 'missing')) {
        return result(text('all answered'));
    }
    return inputRequired({
        inputRequests: {
            user_name: ASK_NAME,
            greeting: sampling('Generate a greeting', 50),
            client_roots: inputRequired.listRoots()
        },
        requestState: await requestState.mint({ round: 1 })
    });
}

async function rounds(context) {
    const state = context.mcpReq.requestState();
    const color = accepted(context, 'step2')?.color;
    if (state?.round === 2 && color !== undefined) {
        return result(text(`${state.name} likes ${color}`));
    }
    const name = accepted(context, 'step1')?.name;
    if (state?.round === 1 && name !== undefined) {
        return inputRequired({
            inputRequests: { step2: ask('Step 2: What is your favorite color?', COLOR) },
            requestState: await requestState.mint({ round: 2, name })
        });
    }
    return inputRequired({
        inputRequests: { step1: ask('Step 1: What is your name?', NAME) },
        requestState: await requestState.mint({ round: 1 })
    });
}

async function capabilities(context) {
    const { elicitation, sampling: samples } = declared(context);
    return inputRequired({
        inputRequests: {
            ...(elicitation && { user_name: ASK_NAME }),
            ...(samples && { greeting: sampling('Generate a greeting') })
        }
    });
}

/** Refused with -32021 before it is sent, for a client that did not declare sampling. */
async function needsSampling(context) {
    return response(context, 'greeting').kind === 'sampling'
        ? result(text('sampled'))
        : inputRequired({ inputRequests: { greeting: sampling('Generate a greeting') } });
}

export function modernTools(server, notify) {
    const simple = (name, description, run) => server.registerTool(name, { description }, run);

    server.registerTool(
        'test_sampling',
        { description: 'Needs a sampling', inputSchema: argument('prompt') },
        async ({ prompt }, context) => sampled(context, prompt)
    );
    server.registerTool(
        'test_elicitation',
        { description: 'Needs an elicitation', inputSchema: argument('message') },
        async ({ message }, context) => elicit(context, message, RESPONSE)
    );
    simple('test_elicitation_sep1034_defaults', 'Needs an elicitation, with defaults', async context =>
        elicit(context, 'Please review the defaults', DEFAULTS)
    );
    simple('test_elicitation_sep1330_enums', 'Needs a choice', async context => elicit(context, 'Please choose', ENUMS));
    simple('test_input_required_result_elicitation', 'Needs an elicitation', elicitation);
    simple('test_input_required_result_sampling', 'Needs a sampling', async context =>
        sampled(context, 'What is the capital of France?')
    );
    simple('test_input_required_result_list_roots', 'Needs the roots', roots);
    simple('test_input_required_result_request_state', 'Needs a confirmation and its own state', confirmed);
    simple('test_input_required_result_tampered_state', 'Refuses a state it did not seal', confirmed);
    simple('test_input_required_result_multiple_inputs', 'Needs three things at once', multiple);
    simple('test_input_required_result_multi_round', 'Needs two rounds', rounds);
    simple('test_input_required_result_capabilities', 'Asks for what the client declared', capabilities);
    simple('test_missing_capability', 'Needs a client that samples', needsSampling);
    simple('test_streaming_elicitation', 'Needs a confirmation', async () =>
        inputRequired({ inputRequests: { confirm: ASK_CONFIRM } })
    );
    simple('test_trigger_tool_change', 'Announces a change of the tools', async () => {
        await (notify ? notify.toolsChanged() : server.sendToolListChanged());
        return result(text('announced'));
    });
    simple('test_trigger_prompt_change', 'Announces a change of the prompts', async () => {
        await (notify ? notify.promptsChanged() : server.sendPromptListChanged());
        return result(text('announced'));
    });
}
