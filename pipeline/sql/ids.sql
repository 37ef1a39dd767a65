-- Which movies have these ids of the input?
-- items string[]: item_id as in the table movies; those that the catalogue does not know are passed over.
-- Returns int[]: their movie_id, in the same order, for recommend and its relatives.
create or replace macro ids(items) as
coalesce((
    select list(movie_id order by list_position(items::varchar[], item_id))
    from movies
    where list_contains(items::varchar[], item_id)
), []::int[]);
