// The ten cards: draws them, and sends the page the button and the film that were clicked.
export default ({data, parentElement, setTriggerValue}) => {
    const buttons = name => [...parentElement.querySelectorAll(`button[name="${name}"]`)];
    // A card that is taken or put away goes with the button that has the focus: the one in its place gets it.
    const {name} = parentElement.contains(document.activeElement) ? document.activeElement : {};
    const at = name ? buttons(name).indexOf(document.activeElement) : -1;
    parentElement.innerHTML = `<div class="films">${data.join("")}</div>`;
    buttons(name)[at]?.focus({preventScroll: true});
    parentElement.onclick = ({target}) => {
        const button = target.closest("button");
        if (button) setTriggerValue(button.name, Number(button.value));
    };
};
