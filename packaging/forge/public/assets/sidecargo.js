// Asks the registry, as nobody in particular, whether crates belong to the repository whose page this is.
const tab = document.getElementById("crate-tab");
if (tab) {
  fetch(tab.dataset.page, { method: "HEAD", credentials: "omit" }).then((answer) => {
    if (answer.ok) tab.replaceWith(tab.content);
  });
}
