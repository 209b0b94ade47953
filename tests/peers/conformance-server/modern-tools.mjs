// Tools of 2026-07-28: what the server needs from its client it returns as `input_required`.

import { randomBytes } from 'node:crypto';
import {
    acceptedContent,
    CLIENT_CAPABILITIES_META_KEY,
    createRequestStateCodec,
    inputRequired,
    inputResponse
} from '@modelcontextprotocol/server';
import { form, result, text } from './content.mjs';

/** Seals what a call must remember between its rounds; one key for all requests of this process. */
export const requestState = createRequestStateCodec({ key: randomBytes(32) });

const NAME = ask('What is your name?', { name: { type: 'string' } });
const CONFIRM = ask('Please confirm', { ok: { type: 'boolean' } });

function ask(message, properties) {
    return inputRequired.elicit({ message, requestedSchema: form(properties) });
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
        : inputRequired({ inputRequests: { user_name: NAME } });
}

async function sampled(context) {
    const answer = response(context, 'capital_question');
    return answer.kind === 'sampling'
        ? result(text(JSON.stringify(answer)))
        : inputRequired({ inputRequests: { capital_question: sampling('What is the capital of France?') } });
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
    return inputRequired({ inputRequests: { confirm: CONFIRM }, requestState: await requestState.mint({ round: 1 }) });
}

async function multiple(context) {
    const keys = ['user_name', 'greeting', 'client_roots'];
    if (keys.every(key => response(context, key).kind !== 'missing')) {
        return result(text('all answered'));
    }
    return inputRequired({
        inputRequests: {
            user_name: NAME,
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
            inputRequests: { step2: ask('Step 2: What is your favorite color?', { color: { type: 'string' } }) },
            requestState: await requestState.mint({ round: 2, name })
        });
    }
    return inputRequired({
        inputRequests: { step1: ask('Step 1: What is your name?', { name: { type: 'string' } }) },
        requestState: await requestState.mint({ round: 1 })
    });
}

async function capabilities(context) {
    const { elicitation, sampling: samples } = declared(context);
    return inputRequired({
        inputRequests: {
            ...(elicitation && { user_name: NAME }),
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

    simple('test_input_required_result_elicitation', 'Needs an elicitation', elicitation);
    simple('test_input_required_result_sampling', 'Needs a sampling', sampled);
    simple('test_input_required_result_list_roots', 'Needs the roots', roots);
    simple('test_input_required_result_request_state', 'Needs a confirmation and its own state', confirmed);
    simple('test_input_required_result_tampered_state', 'Refuses a state it did not seal', confirmed);
    simple('test_input_required_result_multiple_inputs', 'Needs three things at once', multiple);
    simple('test_input_required_result_multi_round', 'Needs two rounds', rounds);
    simple('test_input_required_result_capabilities', 'Asks for what the client declared', capabilities);
    simple('test_missing_capability', 'Needs a client that samples', needsSampling);
    simple('test_streaming_elicitation', 'Needs a confirmation', async () =>
        inputRequired({ inputRequests: { confirm: CONFIRM } })
    );
    simple('test_logging_tool', 'Logs if the request asks for it', async context => {
        await context.mcpReq.log('info', 'test_logging_tool was called');
        return result(text('logged'));
    });
    simple('test_trigger_tool_change', 'Announces a change of the tools', async () => {
        await (notify ? notify.toolsChanged() : server.sendToolListChanged());
        return result(text('announced'));
    });
    simple('test_trigger_prompt_change', 'Announces a change of the prompts', async () => {
        await (notify ? notify.promptsChanged() : server.sendPromptListChanged());
        return result(text('announced'));
    });
}
