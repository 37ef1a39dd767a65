-- What is left of a title for searching? Its words without an article at either end.
-- words string: see search_words. Returns a string: 'the matrix', 'teh matrix' and 'matrix the' give 'matrix'.
create or replace macro search_key(words) as
regexp_replace(
    words,
    '^(?:the|teh|a|an|la|le|les|el|los|las|il|lo|der|die|das) (.*\S)$|^(.*\S) (?:the|a|an|la|le|les|el|los|las|il|lo|der|die|das)$',
    '\1\2'
);
