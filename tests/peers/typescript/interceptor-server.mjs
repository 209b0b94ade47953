// A server of the interceptors extension (draft SEP-2624) on the official TypeScript SDK.
//
//   node interceptor-server.mjs [--modern] [--log FILE] (--http PORT | --stdio)
//
// Each interceptor does as its description says. Each invocation is a line of the log: name, event, phase. PORT may be 0; when
// the port is open, one line `ready PORT` goes to standard output.

import { appendFileSync } from 'node:fs';
import {
    createMcpHandler,
    isLegacyRequest,
    ProtocolError,
    Server,
    WebStandardStreamableHTTPServerTransport
} from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { z } from 'zod';
import { listen, sessions } from '../conformance-server/serve.mjs';

const words = process.argv.slice(2);
const modernOnly = words[0] === '--modern';
if (modernOnly) words.shift();
const log = words[0] === '--log' ? words.splice(0, 2)[1] : '/dev/null';
const [mode, port] = words;

const INVALID_PARAMS = -32602;
const REQUEST = (...events) => [{ events, phase: 'request' }];
const RESPONSE = (...events) => [{ events, phase: 'response' }];

const denied = message => ({ valid: false, severity: 'error', messages: [{ message, severity: 'error' }] });
const changed = payload => ({ modified: true, payload });
const KEPT = { modified: false };
const VALID = { valid: true };

/** What each says of itself, and what it does with a payload. */
const INTERCEPTORS = {
    second: {
        about: { description: 'notes what it has seen', type: 'mutation', hooks: REQUEST('tools/call'), priorityHint: 20 },
        run: ({ payload, config }) => {
            const { text } = payload.arguments ?? {};
            if (text === undefined) return KEPT;
            return changed({ ...payload, arguments: { ...payload.arguments, seen: text, stamp: config?.stamp } });
        }
    },
    first: {
        about: { description: 'shouts', type: 'mutation', hooks: REQUEST('tools/call'), priorityHint: { request: 10 } },
        run: ({ payload }) => {
            const { text } = payload.arguments ?? {};
            if (text === undefined) return KEPT;
            return changed({ ...payload, arguments: { ...payload.arguments, text: text.toUpperCase() } });
        }
    },
    'no-rm': {
        about: { description: 'refuses rm', type: 'validation', hooks: REQUEST('tools/call') },
        run: ({ payload }) => (payload.name === 'rm' ? denied('rm is not for you') : VALID)
    },
    grumble: {
        about: { description: 'warns of everything', type: 'validation', hooks: REQUEST('tools/*') },
        run: () => ({ valid: false, severity: 'warn', messages: [{ message: 'hm', severity: 'warn' }] })
    },
    trouble: {
        about: { description: 'ends, hangs or fails as the tool is called', type: 'validation', hooks: REQUEST('tools/call') },
        run: ({ payload }) => {
            if (payload.name === 'exit') process.exit(3);
            if (payload.name === 'hang') return new Promise(() => {});
            if (payload.name === 'nonsense') return { valid: 'perhaps' };
            if (payload.name === 'throw') throw new Error('on purpose');
            return VALID;
        }
    },
    answers: {
        about: { description: 'marks answers', type: 'mutation', hooks: RESPONSE('tools/call') },
        run: ({ payload }) => changed({ ...payload, marked: true })
    },
    polite: {
        about: { description: 'asks nicely', type: 'mutation', hooks: REQUEST('elicitation/create') },
        run: ({ payload }) => changed({ ...payload, message: `Please: ${payload.message}` })
    },
    journal: {
        about: {
            description: 'keeps the log',
            type: 'validation',
            mode: 'audit',
            hooks: [...REQUEST('*'), ...RESPONSE('*')]
        },
        run: () => denied('nobody listens')
    }
};

const LIST = z.looseObject({ cursor: z.string().optional() });
const INVOKE = z.looseObject({ name: z.string(), event: z.string(), phase: z.enum(['request', 'response']), payload: z.any() });

function offer() {
    const extensions = { 'io.modelcontextprotocol/interceptors': { supportedEvents: ['*'] } };
    const server = new Server({ name: 'interceptor-server', version: '1' }, { capabilities: { extensions } });
    server.setRequestHandler('interceptors/list', { params: LIST.optional() }, async () => ({
        interceptors: Object.entries(INTERCEPTORS).map(([name, { about }]) => ({ name, ...about }))
    }));
    server.setRequestHandler('interceptor/invoke', { params: INVOKE }, async params => {
        const { name, event, phase, context } = params;
        const interceptor = INTERCEPTORS[name];
        if (interceptor === undefined) throw new ProtocolError(INVALID_PARAMS, `no interceptor ${name}`);
        appendFileSync(log, `${name} ${event} ${phase} ${context.principal.type}\n`);
        const result = await interceptor.run(params);
        return { interceptor: name, type: interceptor.about.type, phase, ...result };
    });
    return server;
}

switch (mode) {
    case '--http': {
        const modern = createMcpHandler(offer, { legacy: 'reject' });
        const legacy = sessions(WebStandardStreamableHTTPServerTransport, offer);
        const fetch = async (request, options) =>
            !modernOnly && (await isLegacyRequest(request)) ? legacy(request) : modern.fetch(request, options);
        await listen(port, toNodeHandler({ fetch }));
        break;
    }
    case '--stdio':
        serveStdio(offer, { legacy: modernOnly ? 'reject' : 'serve' });
        break;
    default:
        console.error('usage: interceptor-server.mjs [--modern] [--log FILE] (--http PORT | --stdio)');
        process.exitCode = 2;
}
