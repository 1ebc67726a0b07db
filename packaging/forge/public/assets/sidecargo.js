// Asks the registry, as nobody in particular, whether crates belong to the repository whose page this is.
const tab = document.getElementById("crate-tab");
if (tab) {
  fetch(tab.href, { method: "HEAD", credentials: "omit" }).then((answer) => { tab.hidden = !answer.ok; });
}
