// The TypeScript SDK 1.x behind the few calls of 2.x that the tools, prompts and resources here are written against.

import { McpServer, ResourceTemplate } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
    CallToolRequestSchema,
    ErrorCode,
    ListRootsResultSchema,
    ListToolsRequestSchema,
    McpError,
    SubscribeRequestSchema,
    UnsubscribeRequestSchema
} from '@modelcontextprotocol/sdk/types.js';
import { text } from './content.mjs';

const REQUESTS = { 'resources/subscribe': SubscribeRequestSchema, 'resources/unsubscribe': UnsubscribeRequestSchema };

const failure = message => ({ content: [text(message)], isError: true });

/** A server of SDK 1.x; it asks its client on the stream of the call, or on the standing one. */
export class LegacyServer {
    #inner;
    #tools = new Map();
    #asksStanding;

    constructor(info, { capabilities, asksStanding }) {
        this.#inner = new McpServer(info, { capabilities });
        this.#asksStanding = asksStanding;
        // The tools' schemas are JSON Schema already, which McpServer of 1.x does not take.
        this.server.setRequestHandler(ListToolsRequestSchema, async () => ({
            tools: [...this.#tools].map(([name, { description, inputSchema }]) => ({
                name,
                description,
                inputSchema: inputSchema?.['~standard'].jsonSchema.input() ?? { type: 'object' }
            }))
        }));
        this.server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) => this.#call(params, extra));
    }

    get server() {
        const { server } = this.#inner;
        return {
            setRequestHandler: (request, run) => server.setRequestHandler(REQUESTS[request] ?? request, run),
            getClientCapabilities: () => server.getClientCapabilities()
        };
    }

    connect(transport) {
        return this.#inner.connect(transport);
    }

    registerTool(name, { description, inputSchema }, run) {
        this.#tools.set(name, { description, inputSchema, run });
    }

    registerResource(name, where, metadata, read) {
        const resource = typeof where === 'string' ? where : new ResourceTemplate(where.uriTemplate.toString(), { list: undefined });
        this.#inner.registerResource(name, resource, metadata, read);
    }

    registerPrompt(name, { description, argsSchema }, get) {
        const run = argsSchema ? (args, extra) => get(args, this.#context(extra)) : extra => get(this.#context(extra));
        this.#inner.registerPrompt(name, { description, argsSchema: argsSchema?.shape }, run);
    }

    async sendToolListChanged() {
        await this.#inner.server.sendToolListChanged();
    }

    async sendPromptListChanged() {
        await this.#inner.server.sendPromptListChanged();
    }

    async #call({ name, arguments: given = {} }, extra) {
        const tool = this.#tools.get(name);
        if (tool === undefined) {
            throw new McpError(ErrorCode.InvalidParams, `Tool ${name} not found`);
        }
        const issues = (await tool.inputSchema?.['~standard'].validate(given))?.issues;
        if (issues) {
            return failure(issues.map(issue => issue.message).join('; '));
        }
        const context = this.#context(extra);
        try {
            return await (tool.inputSchema ? tool.run(given, context) : tool.run(context));
        } catch (error) {
            return failure(error.message);
        }
    }

    #context(extra) {
        const { server } = this.#inner;
        const options = this.#asksStanding ? {} : { relatedRequestId: extra.requestId };
        return {
            mcpReq: {
                _meta: extra._meta,
                notify: notification => extra.sendNotification(notification),
                log: (level, data) => extra.sendNotification({ method: 'notifications/message', params: { level, data } }),
                elicitInput: params => server.elicitInput(params, options),
                requestSampling: params => server.createMessage(params, options),
                send: request => server.request(request, ListRootsResultSchema, options)
            },
            http: { closeSSE: extra.closeSSEStream }
        };
    }
}
