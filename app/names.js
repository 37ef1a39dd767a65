// A favourite's button says its title alone: to who hears it, it says what it does. Sent with every drawing of the page,
// it begins once.
if (!window.favouriteNames) {
    window.favouriteNames = true;
    const name = () => {
        for (const button of document.querySelectorAll("[class*=st-key-drop-] button")) {
            const title = button.querySelector("p")?.textContent, said = `Remove: ${title}`;
            if (title && button.getAttribute("aria-label") !== said) button.setAttribute("aria-label", said);
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
