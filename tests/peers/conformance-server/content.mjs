// The pieces of content that tools and prompts answer with.

/** A PNG of one red pixel. */
export const PNG =
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';

/** A WAV file without a sample in it. */
export const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';

export const text = text => ({ type: 'text', text });
export const image = () => ({ type: 'image', data: PNG, mimeType: 'image/png' });
export const audio = () => ({ type: 'audio', data: WAV, mimeType: 'audio/wav' });
export const resource = (uri, mimeType, text) => ({ type: 'resource', resource: { uri, mimeType, text } });

/** The result of a tool. */
export const result = (...content) => ({ content });

/** A form with the given properties, as an elicitation asks for it. */
export const form = (properties, required = Object.keys(properties)) => ({ type: 'object', properties, required });

/** Time between two notifications, so that a client can tell them apart. */
export const pause = () => new Promise(resolve => setTimeout(resolve, 50));
