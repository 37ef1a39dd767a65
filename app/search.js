// The keys of a search field, which Streamlit's know nothing of: Enter takes the first suggestion, arrows walk through
// them. Sent with every drawing of the page, it begins once.
if (!window.searchKeys) {
    window.searchKeys = true;
    const AREA = ".st-key-search-area", PATIENCE = 10_000, PAUSE = 20;  // milliseconds
    const input = area => area.querySelector("input");
    const suggestions = area => [...area.querySelectorAll(".st-key-suggestions button")];
    let typedOn = null;  // the keys that wait, from Enter or a click until the server has cleared the field

    const until = async (area, holds) => {
        const end = performance.now() + PATIENCE;
        while (!holds() && area.isConnected && performance.now() < end) {
            await new Promise(done => setTimeout(done, PAUSE));
        }
    };

    // What was typed a moment ago is still on its way to the server and back.
    const takeFirst = async area => {
        const text = input(area).value, found = () => area.querySelector(".found")?.dataset.text === text;
        typedOn ??= [];
        await until(area, () => found() || input(area).value !== text);
        const first = found() && suggestions(area)[0];
        if (first) first.click();
        else typeOn(area);
    };

    const typeOn = area => {
        const keys = typedOn ?? [], field = input(area);  // two clicks wait for the same
        typedOn = null;
        while (keys.length && document.activeElement === field) {
            const key = keys.shift();
            if (key !== "Enter") document.execCommand("insertText", false, key);  // as if typed: Streamlit hears of it
            else if (field.value) {
                typedOn = keys;
                takeFirst(area);
                break;
            }
        }
    };

    document.addEventListener("keydown", event => {
        const area = event.target.closest(AREA);
        if (!area || event.isComposing) return;
        const field = input(area), buttons = suggestions(area), at = buttons.indexOf(event.target);
        const types = [...event.key].length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey;
        if (typedOn && event.target === field && (types || ["Enter", "Backspace"].includes(event.key))) {
            event.preventDefault();
            if (event.key === "Backspace") typedOn.pop();
            else typedOn.push(event.key);
        } else if (event.key === "Enter" && event.target === field && field.value) {
            takeFirst(area);
        } else if (event.key === "Escape" && at >= 0) {
            field.focus();
        } else if (["ArrowDown", "ArrowUp"].includes(event.key) && buttons.length) {
            event.preventDefault();
            const next = at + (event.key === "ArrowDown" ? 1 : -1);
            (next < 0 ? field : buttons[Math.min(next, buttons.length - 1)]).focus();
        }
    });

    // A taken suggestion goes. With a keyboard the visitor can type on; on a phone a keyboard would jump up.
    document.addEventListener("click", async event => {
        const area = event.target.closest(".st-key-suggestions")?.closest(AREA);
        if (!area) return;
        const text = input(area).value;
        if (matchMedia("(pointer: fine)").matches) input(area).focus();
        typedOn ??= [];
        await until(area, () => !text || input(area).value !== text);
        typeOn(area);
    });
}
