// The forms that the suite wants a user to be shown, and the arguments of the tools that show them.

import { fromJsonSchema } from '@modelcontextprotocol/server';
import { form } from './content.mjs';

const titled = (...titles) => titles.map((title, index) => ({ const: `value${index + 1}`, title }));

/** The schema of a tool's one argument. */
export const argument = name => fromJsonSchema(form({ [name]: { type: 'string' } }));

/** Fields that each bring a default. */
export const DEFAULTS = form(
    {
        name: { type: 'string', description: 'User name', default: 'John Doe' },
        age: { type: 'integer', description: 'User age', default: 30 },
        score: { type: 'number', description: 'User score', default: 95.5 },
        status: {
            type: 'string',
            description: 'User status',
            enum: ['active', 'inactive', 'pending'],
            default: 'active'
        },
        verified: { type: 'boolean', description: 'Verification status', default: true }
    },
    []
);

/** Every way to offer a choice. */
export const ENUMS = form(
    {
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
    },
    []
);

export const NAME = form({ name: { type: 'string' } });
export const COLOR = form({ color: { type: 'string' } });
export const CONFIRM = form({ ok: { type: 'boolean' } });
export const CONFIRMED = form({ confirm: { type: 'boolean' } });
export const CONTEXT = form({ context: { type: 'string' } });
export const RESPONSE = form({ response: { type: 'string' } });
