-- Texts for searching. Only in an index that is made with them: `index.full_text`.

-- How many bytes of a trace are kept.
CREATE TABLE full_text (
    bytes INTEGER NOT NULL
);

CREATE TABLE texts (
    -- Rises with ts_start, so that what is found comes in the order of lists: the milliseconds times 2^20, and a number.
    doc  INTEGER PRIMARY KEY,
    row  INTEGER NOT NULL UNIQUE,
    -- Request, NUL, answer; zstd.
    text BLOB NOT NULL
);

-- Trigrams: any three characters that follow each other, so that words need no spaces between them.
CREATE VIRTUAL TABLE texts_found USING fts5 (request, answer, content='', contentless_delete=1, tokenize='trigram');
INSERT INTO texts_found (texts_found, rank) VALUES ('hashsize', 8388608);

-- Which trigrams there are: for what is shorter than one.
CREATE VIRTUAL TABLE texts_trigrams USING fts5vocab (texts_found, 'row');
