//! Changes at the server, told to the client.
