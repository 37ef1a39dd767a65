"""The charts of the pages. Titles and names are values of the data, never part of a chart's own text."""

import altair as alt
import pandas as pd

from pipeline.serving.recommender import MapPlace, named
from pipeline.standings import SERVED, Measure

# Eight hues after Okabe and Ito, each with a contrast of 3:1 or more on the light page and on the dark one. Whoever
# cannot tell them apart has the shapes.
COLOURS = ["#0a84c1", "#d55e00", "#00936c", "#b8860b", "#c4679c", "#7a76d6", "#5f8a00", "#d8493f"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left", "triangle-right"]
OTHER, SERVED_COLOUR = "#868686", "#d55e00"


def map_chart(
    places: list[MapPlace], explored: int | None, near: set[int], ink: str, paper: str, faint: float, item: str
) -> alt.LayerChart:
    """Return the map; explored and near: movie ids to highlight. Selection 'point': movie_id of a clicked one.

    ink, paper: colours of text and of its background. faint: opacity of the other points. item: what the
    points are.
    """
    table = pd.DataFrame(
        {
            "movie_id": [place.movie_id for place in places],
            "film": [named(place) for place in places],
            "genres": [", ".join(place.genres) or "none listed" for place in places],
            "ratings": [place.n_ratings for place in places],
            "genre": [place.genre for place in places],
            "x": [place.x for place in places],
            "y": [place.y for place in places],
            "part": [
                "explored" if place.movie_id == explored else "near" if place.movie_id in near else "far"
                for place in places
            ],
        }
    )
    genres = [*sorted(set(table.genre) - {"other"})[: len(COLOURS)], "other"]
    colours, shapes = [*COLOURS[: len(genres) - 1], OTHER], [*SHAPES[: len(genres) - 1], "circle"]
    legend = alt.Legend(title=None, orient="bottom", columns=3, symbolOpacity=1, symbolStrokeWidth=0, labelColor=ink)
    scale = alt.Scale(zero=False, nice=False, padding=24)
    base = alt.Chart(table).encode(
        x=alt.X("x:Q", axis=None, scale=scale),
        y=alt.Y("y:Q", axis=None, scale=scale),
        color=alt.Color("genre:N", scale=alt.Scale(domain=genres, range=colours), legend=legend),
        shape=alt.Shape("genre:N", scale=alt.Scale(domain=genres, range=shapes), legend=legend),
        description="film:N",
        tooltip=[
            alt.Tooltip("film:N", title=item),
            alt.Tooltip("genres:N", title="Genres"),
            alt.Tooltip("ratings:Q", title="People", format=","),
        ],
    )
    point = alt.selection_point(name="point", fields=["movie_id"], on="click", empty=False)
    view = alt.selection_interval(
        name="view",
        bind="scales",
        zoom="wheel![event.shiftKey]",
        translate="[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!",
    )
    parts = ("far", "near", "explored")
    far, in_front, named_one = (base.transform_filter(f"datum.part == '{part}'") for part in parts)
    layers = [
        far.mark_point(filled=True, size=32, opacity=faint if near else 0.75, aria=False).add_params(point, view),
        in_front.mark_point(filled=True, size=110, opacity=1),
        named_one.mark_point(filled=True, size=320, opacity=1, stroke=ink, strokeWidth=3),
    ]
    # The name goes towards the middle, where half of the width is free; below it, its outline in the page's colour.
    bold = {"dy": -22, "fontSize": 14, "fontWeight": "bold", "limit": alt.ExprRef("width / 2")}
    for side, align, dx in (("datum.x < 0", "left", -8), ("datum.x >= 0", "right", 8)):
        name = named_one.transform_filter(side).encode(text="film:N")
        for outline in ({"stroke": paper, "strokeWidth": 5, "strokeJoin": "round"}, {}):
            colour = alt.value(paper if outline else ink)
            layers.append(name.encode(color=colour).mark_text(align=align, dx=dx, **bold, **outline))
    return alt.layer(*layers).properties(height=520).configure_view(stroke=None)


def accuracy_chart(rows: list[Measure], label: str, ink: str) -> alt.LayerChart:
    """Return a line per model, best first: its value and the 95 % interval. label: of the measure; ink: of text."""
    table = pd.DataFrame(rows, columns=Measure._fields)
    table["served"] = [model.startswith(SERVED) for model in table.model]
    base = alt.Chart(table).encode(
        y=alt.Y("model:N", sort=None, title=None, axis=alt.Axis(labelLimit=180, grid=False, labelColor=ink)),
        color=alt.condition("datum.served", alt.value(SERVED_COLOUR), alt.value(OTHER)),
        tooltip=[
            alt.Tooltip("model:N", title="Model"),
            alt.Tooltip("value:Q", title=label, format=".4f"),
            alt.Tooltip("ci_low:Q", title="95 % interval from", format=".4f"),
            alt.Tooltip("ci_high:Q", title="to", format=".4f"),
        ],
    )
    axis = alt.Axis(labelColor=ink, titleColor=ink)
    interval = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("ci_low:Q", title=label, axis=axis, scale=alt.Scale(domain=[0, table.ci_high.max()])), x2="ci_high:Q"
    )
    value = base.mark_point(filled=True, size=90, opacity=1).encode(x="value:Q")
    return alt.layer(interval, value).properties(height=alt.Step(24))
