// Ten buttons that say "More like this", and twenty thumbs: to who hears them, each names its film, as its card does,
// and a favourite's says what it does. Sent with every drawing of the page, it begins once.
if (!window.cardNames) {
    window.cardNames = true;
    const TAKES = "[class*=st-key-more-] button, [class*=st-key-less-] button";
    const BUTTONS = `${TAKES}, [role=radiogroup], [role=radio]`;
    const cards = () => [...document.querySelectorAll("[class*=st-key-film-]")];
    const call = (button, said) => {
        if (button.getAttribute("aria-label") !== said) button.setAttribute("aria-label", said);
    };

    const name = () => {
        for (const card of cards()) {
            const film = card.querySelector(".film")?.getAttribute("aria-label");
            for (const button of film ? card.querySelectorAll(BUTTONS) : []) {
                button.dataset.says ??= button.getAttribute("aria-label") ?? button.querySelector("p").textContent;
                call(button, `${button.dataset.says}: ${film}`);
            }
        }
        for (const button of document.querySelectorAll("[class*=st-key-drop-] button")) {
            const title = button.querySelector("p")?.textContent;
            if (title) call(button, `Remove: ${title}`);
        }
    };

    // A card that is taken or put away goes with the button that has the focus: the one in its place gets it.
    let left;
    document.addEventListener("click", event => {
        const button = event.target.closest(TAKES);
        if (!button) { left = undefined; return; }
        const at = cards().findIndex(card => card.contains(button));
        left = {at, kind: button.closest("[class*=st-key-more-]") ? "more" : "less"};
    });
    const refocus = () => {
        if (!left || document.activeElement !== document.body) return;
        cards()[left.at]?.querySelector(`[class*=st-key-${left.kind}-] button`)?.focus({preventScroll: true});
    };

    let due = false;
    new MutationObserver(() => {
        if (due) return;
        due = true;
        requestAnimationFrame(() => { due = false; name(); refocus(); });
    }).observe(document.body, {childList: true, subtree: true});
    name();
}
