import "./css/tokens.css";
import "./css/base.css";
import "./css/frame.css";
import "./css/controls.css";
import "./css/table.css";
import "./css/panels.css";
import "./css/job.css";
import "./css/webhooks.css";

import htmx from "htmx.org";
import {followTimes} from "./js/times.js";
import {listenToKeys} from "./js/keys.js";
import {copyOnClick} from "./js/copy.js";
import {refreshLive} from "./js/live.js";
import {helpToSignIn} from "./js/sign_in.js";
import {stayWhileAway} from "./js/connection.js";

// htmx reads the page's meta element "htmx-config"; evaluation is off there and forbidden by the policy.
window.htmx = htmx;
followTimes();
listenToKeys();
copyOnClick();
stayWhileAway();
refreshLive();
helpToSignIn();
