-- How alike are a name and a text in their letters?
-- name, text string: see search_key. Returns a double, 0 to 0.9: 0.9 for equal ones.
create or replace macro search_likeness(name, text) as
case
    -- A name much shorter than the text is less than 0.6 like it, whatever its letters.
    when 3 * length(name) < 2 * length(text) then 0.0
    -- Edit distances are dear: only names that share enough letters are worth one.
    when jaro_winkler_similarity(left(name, length(text) + 1), text) < 0.75 then 0.0
    else 0.9 * greatest(
        1 - damerau_levenshtein(name, text) / greatest(length(name), length(text)),
        -- a name longer than the text, typed with a typo: as long as it should be, a letter more, or one less
        0.85 * (1 - least(
            damerau_levenshtein(left(name, length(text)), text) / length(text),
            damerau_levenshtein(left(name, length(text) - 1), text) / length(text),
            damerau_levenshtein(left(name, length(text) + 1), text) / (length(text) + 1)
        ))
    )
end;
