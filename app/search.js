// The keys of a search field, which Streamlit's know nothing of: Enter takes the first suggestion, arrows walk through
// them. Sent with every drawing of the page, it begins once.
if (!window.searchKeys) {
    window.searchKeys = true;
    const AREA = ".st-key-search-area", PATIENCE = 3000, PAUSE = 20;  // milliseconds
    const input = area => area.querySelector("input");
    const suggestions = area => [...area.querySelectorAll(".st-key-suggestions button")];

    // What was typed a moment ago is still on its way to the server and back.
    const takeFirst = (area, text, until) => {
        if (input(area).value !== text) return;
        if (area.querySelector(".found")?.dataset.text === text) suggestions(area)[0]?.click();
        else if (performance.now() < until) setTimeout(takeFirst, PAUSE, area, text, until);
    };

    document.addEventListener("keydown", event => {
        const area = event.target.closest(AREA);
        if (!area || event.isComposing) return;
        const field = input(area), buttons = suggestions(area), at = buttons.indexOf(event.target);
        if (event.key === "Enter" && event.target === field && field.value) {
            takeFirst(area, field.value, performance.now() + PATIENCE);
        } else if (event.key === "Escape" && at >= 0) {
            field.focus();
        } else if (["ArrowDown", "ArrowUp"].includes(event.key) && buttons.length) {
            event.preventDefault();
            const next = at + (event.key === "ArrowDown" ? 1 : -1);
            (next < 0 ? field : buttons[Math.min(next, buttons.length - 1)]).focus();
        }
    });

    // A suggestion that is taken goes; whoever has keys types on. On a phone a keyboard would jump up.
    document.addEventListener("click", event => {
        const area = event.target.closest(".st-key-suggestions")?.closest(AREA);
        if (area && matchMedia("(pointer: fine)").matches) input(area).focus();
    });
}
