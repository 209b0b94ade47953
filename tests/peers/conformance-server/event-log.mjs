// What a client may ask for again with `Last-Event-ID`: the last events of each stream of one session.

const EVENTS_MAX = 1000;

export class EventLog {
    #events = [];
    #next = 1;

    async storeEvent(streamId, message) {
        const eventId = `${streamId}/${this.#next++}`;
        this.#events.push({ eventId, streamId, message });
        if (this.#events.length > EVENTS_MAX) {
            this.#events.shift();
        }
        return eventId;
    }

    async getStreamIdForEventId(eventId) {
        return this.#events.find(event => event.eventId === eventId)?.streamId;
    }

    async replayEventsAfter(lastEventId, { send }) {
        const at = this.#events.findIndex(event => event.eventId === lastEventId);
        const streamId = this.#events[at]?.streamId ?? '';
        const missed = this.#events.slice(at + 1).filter(event => at >= 0 && event.streamId === streamId);
        for (const { eventId, message } of missed) {
            // A priming event was stored with an empty message: an id to resume from, nothing to say again.
            if ('jsonrpc' in message) {
                await send(eventId, message);
            }
        }
        return streamId;
    }
}
