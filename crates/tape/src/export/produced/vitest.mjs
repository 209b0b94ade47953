// Repeats the calls of a recorded session and compares the answers with the recorded ones.
//
// Written by `shadowcat tape export test --lang vitest`. It needs vitest and the official SDK
// (`npm install --save-dev vitest @modelcontextprotocol/client zod`). The server is `shadowcat mock` with the tape. To ask
// another one, say how it is started: SERVER='["node", "server.mjs"]' npx vitest run

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Client, ProtocolError } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { expect, test } from 'vitest';
import * as z from 'zod';

const HERE = dirname(fileURLToPath(import.meta.url));
const TAPES = [];
const MODE = 'auto';
const MS_MAX = 30_000;
// What belongs to one run, or is for the SDK and not for those who use it.
const UNTOLD = ['_meta', 'nextCursor', 'resultType'];

// [session, method, parameters, answer] of each call, and what the client answered when it was asked, in order.
const CALLS = [];
const ANSWERS = { 'elicitation/create': [], 'sampling/createMessage': [], 'roots/list': [] };
//RECORDED

function server() {
    const words = JSON.parse(process.env.SERVER || '[]');
    const mock = [process.env.SHADOWCAT_BIN || 'shadowcat', 'mock', ...TAPES];
    const [command, ...args] = words.length > 0 ? words : mock;
    return new StdioClientTransport({ command, args, cwd: HERE, env: process.env });
}

/** What is recorded has to be there; what is there besides is not looked at. */
function* differences(recorded, live, path = '$') {
    if (typeof recorded === 'string' && recorded.includes('[redacted:')) return;
    const both = kind => kind(recorded) && kind(live);
    if (both(Array.isArray) && recorded.length === live.length) {
        for (const [place, value] of recorded.entries()) yield* differences(value, live[place], `${path}[${place}]`);
    } else if (both(value => typeof value === 'object' && value !== null && !Array.isArray(value))) {
        for (const [name, value] of Object.entries(recorded)) {
            if (value === null || UNTOLD.includes(name)) continue;
            yield* differences(value, live[name], `${path}.${name}`);
        }
    } else if (recorded !== live) {
        yield `${path}: recorded ${JSON.stringify(recorded)}, got ${JSON.stringify(live)}`;
    }
}

async function ask(client, method, params) {
    try {
        return { result: await client.request({ method, params }, z.looseObject({}), { timeout: MS_MAX }) };
    } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        return { error: { code: error.code, message: error.message } };
    }
}

function connected() {
    const capabilities = {};
    if (ANSWERS['elicitation/create'].length > 0) capabilities.elicitation = { form: {}, url: {} };
    if (ANSWERS['sampling/createMessage'].length > 0) capabilities.sampling = {};
    if (ANSWERS['roots/list'].length > 0) capabilities.roots = {};
    const versionNegotiation = { mode: MODE === 'legacy' ? MODE : { pin: MODE } };
    const client = new Client({ name: 'recorded', version: '1.0.0' }, { capabilities, versionNegotiation });
    for (const [method, answers] of Object.entries(ANSWERS)) {
        if (answers.length > 0) client.setRequestHandler(method, async () => answers.shift());
    }
    return client;
}

test('the server answers as recorded', { timeout: 2 * MS_MAX }, async () => {
    const client = connected();
    await client.connect(server());
    const sessions = [...new Set(CALLS.map(([session]) => session))];
    const calls = CALLS.toSorted(([one], [other]) => sessions.indexOf(one) - sessions.indexOf(other));
    const [cursors, found] = [new Map(), []];
    try {
        for (const [, method, params, recorded] of calls) {
            if (params.cursor !== undefined) params.cursor = cursors.get(params.cursor) ?? params.cursor;
            const live = await ask(client, method, params);
            if (recorded.result?.nextCursor) cursors.set(recorded.result.nextCursor, live.result?.nextCursor);
            for (const text of differences(recorded, live)) found.push(`${method} ${JSON.stringify(params)}: ${text}`);
        }
    } finally {
        await client.close();
    }
    expect(found).toEqual([]);
});
