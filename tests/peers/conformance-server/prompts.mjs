// Prompts, and the completion of their arguments.

import { acceptedContent, completable, inputRequired } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { image, resource, text } from './content.mjs';
import { CONTEXT } from './forms.mjs';

const user = content => ({ role: 'user', content });
const messages = (...contents) => ({ messages: contents.map(user) });

const startsWith = (...words) => value => words.filter(word => word.startsWith(value));

const QUESTION = { message: 'What context should the prompt use?', requestedSchema: CONTEXT };

const inContext = answer => messages(text(`Use this context: ${answer?.context}`));

/** Asks before it answers, in the way of the era. */
const contextual = {
    legacy: async context => inContext((await context.mcpReq.elicitInput({ mode: 'form', ...QUESTION })).content),
    modern: async context => {
        const answer = acceptedContent(context.mcpReq.inputResponses, 'user_context');
        return answer === undefined
            ? inputRequired({ inputRequests: { user_context: inputRequired.elicit(QUESTION) } })
            : inContext(answer);
    }
};

export function prompts(server, era) {
    server.registerPrompt('test_simple_prompt', { description: 'Takes no argument' }, async () =>
        messages(text('This is a simple prompt for testing.'))
    );
    server.registerPrompt(
        'test_prompt_with_arguments',
        {
            description: 'Takes two arguments',
            argsSchema: z.object({
                arg1: completable(z.string(), startsWith('paris', 'park', 'party')),
                arg2: completable(z.string(), startsWith('tea', 'team', 'test'))
            })
        },
        async ({ arg1, arg2 }) => messages(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))
    );
    server.registerPrompt(
        'test_prompt_with_embedded_resource',
        { description: 'Embeds a resource', argsSchema: z.object({ resourceUri: z.string() }) },
        async ({ resourceUri }) =>
            messages(
                resource(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
                text('Please process the embedded resource above.')
            )
    );
    server.registerPrompt('test_prompt_with_image', { description: 'Shows an image' }, async () =>
        messages(image(), text('Please analyze the image above.'))
    );
    server.registerPrompt('test_input_required_result_prompt', { description: 'Needs an elicitation' }, contextual[era]);
}
