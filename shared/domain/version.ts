/** The version of the poll protocol. The coordinator is upgraded first and speaks this one and the one before. */
export const PROTOCOL_VERSION = 1;
export const OLDEST_PROTOCOL_VERSION = 1;
