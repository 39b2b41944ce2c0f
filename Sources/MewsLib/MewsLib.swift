// The link unit of libmews.so.0: it carries the export list (mews.map) and nothing else.
