-- What is left of a title as words? Lower case, no accents, no punctuation, one blank between words.
-- title string. Returns a string: 'Amélie & "Léon"' gives 'amelie and leon'.
create or replace macro search_words(title) as
trim(regexp_replace(
    regexp_replace(replace(lower(strip_accents(title)), '&', ' and '), '[''’`´.]', '', 'g'),
    '[^\p{L}\p{N}]+', ' ', 'g'
));
