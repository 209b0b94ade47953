// The tools that run as tasks: what each does until it ends, in whichever way an era has tasks.
//
// `task.ask(message, form)` gives what the client says to a form in the course of the task.

import { setTimeout as sleep } from 'node:timers/promises';
import { fromJsonSchema } from '@modelcontextprotocol/server';
import { form, result, text } from './content.mjs';
import { CONFIRMED, NAME } from './forms.mjs';

/** How often a client had better look. */
export const POLL_MS = 100;

/** Time that keeps no process from ending. */
const pass = ms => sleep(ms, undefined, { ref: false });
const takes = (properties = {}) => fromJsonSchema(form(properties));
const STRING = { type: 'string' };

export const JOBS = {
    slow_compute: {
        description: 'Takes its time',
        inputSchema: takes({ seconds: { type: 'number' }, label: STRING }),
        async run({ seconds, label }) {
            await pass(seconds * 1000);
            return result(text(`${label} is computed`));
        }
    },
    failing_job: {
        description: 'Ends with an error of the tool; runs as a task only',
        inputSchema: takes(),
        isTaskOnly: true,
        async run() {
            await pass(POLL_MS);
            return { ...result(text('It did not work')), isError: true };
        }
    },
    protocol_error_job: {
        description: 'Ends with an error of the protocol',
        inputSchema: takes(),
        async run() {
            await pass(POLL_MS);
            throw new Error('it broke');
        }
    },
    confirm_delete: {
        description: 'Asks before it deletes',
        inputSchema: takes({ filename: STRING }),
        async run({ filename }, task) {
            const { action } = await task.ask(`Delete ${filename}?`, CONFIRMED);
            return result(text(`${filename}: ${action}`));
        }
    },
    multi_input: {
        description: 'Asks two things at once',
        inputSchema: takes(),
        async run(_, task) {
            const answers = await Promise.all([task.ask('Who are you?', NAME), task.ask('Are you sure?', CONFIRMED)]);
            return result(text(answers.map(({ action }) => action).join(', ')));
        }
    },
    test_tool_with_task: {
        description: 'Asks for a name before it becomes a task; runs as a task only',
        inputSchema: takes(),
        isTaskOnly: true,
        asksFirst: { key: 'user_name', message: 'What is your name?', form: NAME },
        async run({ name }) {
            return result(text(`Hello, ${name}!`));
        }
    }
};
