/* Asks once more before what cannot be taken back, or shuts people out; without this script it is done at once. */
"use strict";

(() => {
  const ASKED = {
    revoke: "Revoke what is ticked (KEYS)? A key does not come back, and connections that use it end.",
    disconnect: "End what is ticked (CONNECTIONS)? Clients may come again.",
    ban_user: "Ban the users of what is ticked (CONNECTIONS), and end all that they have open?",
    ban_address: "Ban the addresses of what is ticked (CONNECTIONS), and end all that is open from there?",
  };

  function sentence(form) {
    const asked = ASKED[form.elements.action?.value];
    const ticked = form.querySelectorAll("tbody input[type=checkbox]:checked").length;
    if (!asked || !ticked) return null;
    const all = form.elements.select_across?.value === "1";
    const count = (one) => (all ? `all ${one}s` : `${ticked} ${one}${ticked === 1 ? "" : "s"}`);
    return asked.replace("KEYS", count("key")).replace("CONNECTIONS", count("connection"));
  }

  addEventListener("submit", (event) => {
    const asked = sentence(event.target);
    if (asked && !confirm(asked)) event.preventDefault();
  });
})();
