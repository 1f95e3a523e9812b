// Puts the page together: header, list of studies, viewer, activity, uploads.
import { ActivityPage } from "./activity/page.js";
import { find } from "./dom.js";
import { Live } from "./live.js";
import { NodeStatus } from "./node-status.js";
import { onRoute, studiesHash } from "./router.js";
import { StudiesPage } from "./studies/page.js";
import { offerIntake } from "./uploads/intake.js";
import { UploadPanel } from "./uploads/panel.js";
import { ViewerPage } from "./viewer/page.js";

const shortcuts = find("#shortcuts");
const uploadChoice = find("#upload-choice");

const live = new Live();
const status = new NodeStatus(find("#node-status"), () => studies.addressChanged());
const studies = new StudiesPage(status, () => uploadChoice.showModal());
const viewer = new ViewerPage(
  () => location.assign(lastList),
  () => shortcuts.showModal(),
);
const activity = new ActivityPage(live);
const uploads = new UploadPanel(find("#uploads"), () => studies.refresh());

/** The list as it was left, filters included. */
let lastList = studiesHash();

let lastStudy = null;

onRoute(({ page, studyUid, query }) => {
  document.body.dataset.page = page;
  if (page !== "studies") studies.hide();
  if (page !== "viewer") viewer.hide();
  if (page !== "activity") activity.hide();
  if (page === "viewer") {
    viewer.show(studyUid, query);
    lastStudy = studyUid;
  } else if (page === "activity") {
    activity.show();
  } else {
    studies.show(query, lastStudy);
  }
});

for (const link of document.querySelectorAll('[data-link="studies"]')) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    location.assign(lastList);
  });
}
addEventListener("hashchange", ({ oldURL }) => {
  const { hash } = new URL(oldURL);
  const isList = !hash.startsWith("#/studies/") && hash !== "#/activity";
  if (isList) lastList = hash || studiesHash();
});

find(".skip-link").addEventListener("click", (event) => {
  event.preventDefault();
  find("main:not([hidden])").focus();
});
find('[data-action="upload"]').addEventListener("click", () => uploadChoice.showModal());
for (const dialog of document.querySelectorAll("dialog")) {
  find('[data-action="dismiss"]', dialog).addEventListener("click", () => dialog.close());
}

offerIntake((files) => uploads.add(files));
live.on("event", () => studies.refresh());
live.start();
status.start();
