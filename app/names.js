// Ten buttons that say "More like this", and twenty thumbs: to who hears them, each names its film, as its card does.
// Sent with every drawing of the page, it begins once.
if (!window.cardNames) {
    window.cardNames = true;
    const BUTTONS = "[class*=st-key-more-] button, [class*=st-key-less-] button, [role=radiogroup], [role=radio]";

    const name = () => {
        for (const card of document.querySelectorAll("[class*=st-key-film-]")) {
            const film = card.querySelector(".film")?.getAttribute("aria-label");
            for (const button of film ? card.querySelectorAll(BUTTONS) : []) {
                button.dataset.says ??= button.getAttribute("aria-label") ?? button.querySelector("p").textContent;
                const said = `${button.dataset.says}: ${film}`;
                if (button.getAttribute("aria-label") !== said) button.setAttribute("aria-label", said);
            }
        }
    };

    let due = false;
    new MutationObserver(() => {
        if (due) return;
        due = true;
        requestAnimationFrame(() => { due = false; name(); });
    }).observe(document.body, {childList: true, subtree: true});
    name();
}
