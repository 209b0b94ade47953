// Resources, and their subscriptions in the legacy eras.

import { ResourceTemplate } from '@modelcontextprotocol/server';
import { PNG } from './content.mjs';

const contents = (uri, mimeType, body) => ({ contents: [{ uri: String(uri), mimeType, ...body }] });

export function resources(server, era) {
    const fixed = (name, uri, mimeType, body) =>
        server.registerResource(name, uri, { description: `A ${name} resource`, mimeType }, async () =>
            contents(uri, mimeType, body)
        );

    fixed('static-text', 'test://static-text', 'text/plain', {
        text: 'This is the content of the static text resource.'
    });
    fixed('static-binary', 'test://static-binary', 'image/png', { blob: PNG });
    fixed('watched', 'test://watched-resource', 'text/plain', { text: 'Watched resource content' });
    server.registerResource(
        'template',
        new ResourceTemplate('test://template/{id}/data', { list: undefined }),
        { description: 'A resource for each id', mimeType: 'application/json' },
        async (uri, { id }) =>
            contents(uri, 'application/json', {
                text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` })
            })
    );
    if (era === 'legacy') {
        server.server.setRequestHandler('resources/subscribe', async () => ({}));
        server.server.setRequestHandler('resources/unsubscribe', async () => ({}));
    }
}
