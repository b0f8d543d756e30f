//! The page on which a person gives an install from a CRM's marketplace to a workspace, and the workspace's own page of
//! connections. Forms only: nothing on them runs, and everything works without JavaScript.

use crate::document::{Mood, page, page_with_forms, way_out};
use crate::html::{Html, escape, sentence};

/// A workspace to choose.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// `ws_…`
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Who is looking, and what their forms carry.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// The person, as the product knows them.
    pub user: &'a str,
    /// The token every form carries.
    pub form_token: &'a str,
    /// Workspaces they may administer.
    pub workspaces: &'a [Choice<'a>],
}

/// What the form carries by which this browser's install is declined.
#[derive(Clone, Copy, Debug)]
pub struct Decline<'a> {
    /// `in_…`
    pub install_id: &'a str,
    /// Of the browser that made the install; it needs no session.
    pub form_token: &'a str,
}

impl Decline<'_> {
    fn form(&self, crm_title: &str) -> String {
        format!(
            "<form method=\"post\" action=\"/functions/v1/crm-disconnect\" class=\"aside\">\n{}{}<p class=\"quiet\">Not what \
             you wanted, or not your account? Decline, and the app’s access to {} ends.</p>\n<button class=\"quiet\">Decline\
             </button>\n</form>\n",
            hidden("form_token", self.form_token),
            hidden("install_id", self.install_id),
            escape(crm_title),
        )
    }
}

/// The install, as far as this browser may know it.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// `HubSpot`, `Salesforce`.
    pub crm_title: &'a str,
    /// A name people know it by.
    pub name: Option<&'a str>,
    /// The hub id or org id.
    pub id: &'a str,
}

impl Account<'_> {
    /// The account for people. The name is the account's own and may be in any script: `bdi` keeps its direction to itself.
    fn shown(&self) -> String {
        let id = format!("<code>{}</code>", escape(self.id));
        match self.name {
            Some(name) => format!("<strong><bdi>{}</bdi></strong> ({id})", escape(name)),
            None => id,
        }
    }
}

fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n", escape(value))
}

/// One workspace is named; of several the person chooses, and none is chosen for them.
fn workspaces(visitor: &Visitor<'_>) -> String {
    if let [only] = visitor.workspaces {
        return format!(
            "<dl><dt>Workspace</dt><dd><strong><bdi>{}</bdi></strong></dd><dt>You</dt><dd><bdi>{}</bdi></dd></dl>\n{}",
            escape(only.name),
            escape(visitor.user),
            hidden("workspace_id", only.id)
        );
    }
    let option = |choice: &Choice<'_>| {
        let (id, name) = (escape(choice.id), escape(choice.name));
        [
            "<label><input type=\"radio\" name=\"workspace_id\" value=\"",
            &id,
            "\" required> <bdi>",
            &name,
            "</bdi></label>\n",
        ]
        .concat()
    };
    let options: String = visitor.workspaces.iter().map(option).collect();
    format!("<fieldset>\n<legend>For which workspace?</legend>\n{options}</fieldset>\n")
}

/// The install is this browser's, the person is known: one button claims it.
pub fn claim(account: &Account<'_>, visitor: &Visitor<'_>, decline: &Decline<'_>) -> Html {
    let crm = escape(account.crm_title);
    let heading = format!("Connect this {} account?", account.crm_title);
    let content = format!(
        "<p>You installed the app in the {crm} account {shown}.</p>\n<form method=\"post\" action=\"/claim-install\">\n{token}{install}\
         {workspaces}<p>The workspace will write tasks, notes and contacts into this account and read its contacts and deals. Its \
         administrators can disconnect it at any time.</p>\n<p class=\"way-out\"><button>Connect {crm}</button></p>\n</form>\n\
         {decline}",
        shown = account.shown(),
        token = hidden("form_token", visitor.form_token),
        install = hidden("install_id", decline.install_id),
        workspaces = workspaces(visitor),
        decline = decline.form(account.crm_title),
    );
    page_with_forms(Mood::Open, &heading, &heading, &content)
}

/// The person is known, and the browser cannot show that the install is its own: the CRM is asked. `crm` is its name in a path;
/// `install` is what the browser knows of the install, where it knows one.
pub fn confirm(
    crm: &str,
    crm_title: &str,
    install: Option<(&Account<'_>, &Decline<'_>)>,
    visitor: &Visitor<'_>,
) -> Html {
    let title = escape(crm_title);
    let heading = format!("Confirm in {crm_title}");
    let installed = install.map_or_else(
        || format!("An install of the app in {title} waits to be connected."),
        |(account, _)| format!("The app was installed in the {title} account {}.", account.shown()),
    );
    let content = format!(
        "<p>{installed} {title} will ask you to approve once more, which shows that the account is yours. Choose the same \
         account there.</p>\n<form method=\"post\" action=\"/functions/v1/{crm}-oauth-start\">\n{token}{workspaces}\
         <p class=\"way-out\"><button>Go on to {title}</button></p>\n</form>\n{decline}",
        crm = escape(crm),
        token = hidden("form_token", visitor.form_token),
        workspaces = workspaces(visitor),
        decline = install.map(|(_, decline)| decline.form(crm_title)).unwrap_or_default(),
    );
    page_with_forms(Mood::Open, &heading, &heading, &content)
}

/// Nobody is signed in: the product does that, and sends the person back here.
pub fn sign_in(install: Option<(&Account<'_>, &Decline<'_>)>, sign_in_url: Option<&str>) -> Html {
    let heading = "One step left";
    let installed = install.map_or_else(
        || "The app is installed, and waits to be connected to your workspace.".to_owned(),
        |(account, _)| {
            let title = escape(account.crm_title);
            format!(
                "The app is installed in the {title} account {}, and waits to be connected to your workspace.",
                account.shown()
            )
        },
    );
    let content = format!(
        "<p>{installed}</p>\n<p>Sign in, or sign up, in this browser. You have 24 hours.</p>\n{}{}",
        way_out("Sign in or sign up", sign_in_url, "Open the page “Connect a CRM” in your product, in this browser."),
        install.map(|(account, decline)| decline.form(account.crm_title)).unwrap_or_default(),
    );
    let frame = if install.is_some() { page_with_forms } else { page };
    frame(Mood::Open, heading, heading, &content)
}

/// The install was declined. `revoked`: the CRM confirmed that access has ended.
pub fn declined(account: &Account<'_>, revoked: bool) -> Html {
    let heading = "Declined";
    let title = escape(account.crm_title);
    let ended = if revoked {
        "and the app no longer has access to it".to_owned()
    } else {
        format!("but {title} has not confirmed yet that access has ended. To be sure, remove the app in its settings")
    };
    let content = format!(
        "<p>The {title} account {} was not connected, {ended}.</p>\n<p>If you change your mind, install the app \
         again.</p>\n{}",
        account.shown(),
        way_out("", None, "You can close this window."),
    );
    page(Mood::Good, heading, heading, &content)
}

/// Why an install cannot be claimed, or a page cannot be shown. `code` is the API's; `request_id` is what support asks for.
pub fn refused(heading: &str, code: &str, sentence_text: &str, back: Option<&str>, request_id: &str) -> Html {
    let content = format!(
        "<p>{}</p>\n{}<div class=\"reference\">\n<p>If you ask for help, pass this on:</p>\n<dl>\n<dt>Reason</dt>\
         <dd><code>{}</code></dd>\n<dt>Request</dt><dd><code>{}</code></dd>\n</dl>\n</div>\n",
        escape(&sentence(sentence_text)),
        way_out("Back to your product", back, "You can close this window."),
        escape(code),
        escape(request_id),
    );
    page(Mood::Bad, heading, heading, &content)
}

/// A CRM on the page of connections.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// Its name in a path.
    pub crm: &'a str,
    /// `HubSpot`, `Salesforce`.
    pub crm_title: &'a str,
    /// The account it is connected to, and, when something is wrong, what to do.
    pub connected: Option<(&'a str, Option<&'a str>)>,
    /// Why it is no longer connected, when somebody else than the workspace ended it.
    pub ended: Option<&'a str>,
}

/// The workspace's CRMs, each with the one thing that can be done about it.
pub fn connections(workspace: &Choice<'_>, form_token: &str, links: &[Link<'_>], back: Option<&str>) -> Html {
    let heading = "Your CRM";
    let token = || format!("{}{}", hidden("form_token", form_token), hidden("workspace_id", workspace.id));
    let rows: String = links.iter().map(|link| row(link, &token())).collect();
    let content = format!(
        "<p>Workspace <strong><bdi>{}</bdi></strong></p>\n{rows}{}",
        escape(workspace.name),
        way_out("Back to your product", back, "You can close this window."),
    );
    page_with_forms(Mood::Open, heading, heading, &content)
}

fn row(link: &Link<'_>, token: &str) -> String {
    let (title, crm) = (escape(link.crm_title), escape(link.crm));
    let start = |word: &str| {
        format!(
            "<form method=\"post\" action=\"/functions/v1/{crm}-oauth-start\">\n{token}<button class=\"quiet\">{word}</button>\n</form>\n"
        )
    };
    let end = format!(
        "<form method=\"post\" action=\"/functions/v1/crm-disconnect\">\n{token}{}<button class=\"quiet\">Disconnect</button>\n</form>\n",
        hidden("crm", link.crm)
    );
    let (state, forms) = match link.connected {
        None => {
            let why = link.ended.map(|why| format!(". {}", escape(&sentence(why)))).unwrap_or_default();
            (format!("Not connected{why}"), start("Connect"))
        }
        Some((account, None)) => (format!("Connected to <bdi>{}</bdi>", escape(account)), end),
        Some((account, Some(advice))) => {
            let advice = escape(&sentence(advice));
            (format!("<bdi>{}</bdi>: {advice}", escape(account)), format!("{}{end}", start("Reconnect")))
        }
    };
    format!("<section>\n<h2>{title}</h2>\n<p>{state}</p>\n{forms}</section>\n")
}

#[cfg(test)]
mod tests {
    use super::{Account, Choice, Decline, Link, Visitor, claim, confirm, connections, declined, refused, sign_in};

    const HOSTILE: &str = "<script>alert(\"1\")</script>'&";
    const NO: Decline<'_> = Decline { install_id: "in_1", form_token: "tok" };

    fn visitor<'a>(text: &'a str, workspaces: &'a [Choice<'a>]) -> Visitor<'a> {
        Visitor { user: text, form_token: text, workspaces }
    }

    #[test]
    fn html_in_account_workspace_and_user_names_is_text() {
        let account = Account { crm_title: HOSTILE, name: Some(HOSTILE), id: HOSTILE };
        let one = [Choice { id: HOSTILE, name: HOSTILE }];
        let two = [one[0], one[0]];
        let link = Link { crm: HOSTILE, crm_title: HOSTILE, connected: Some((HOSTILE, Some(HOSTILE))), ended: None };
        let ended = Link { connected: None, ended: Some(HOSTILE), ..link };
        let no = Decline { install_id: HOSTILE, form_token: HOSTILE };
        for page in [
            claim(&account, &visitor(HOSTILE, &one), &no),
            claim(&account, &visitor(HOSTILE, &two), &no),
            confirm(HOSTILE, HOSTILE, Some((&account, &no)), &visitor(HOSTILE, &one)),
            sign_in(Some((&account, &no)), Some("https://app.example/")),
            declined(&account, true),
            declined(&account, false),
            refused(HOSTILE, HOSTILE, HOSTILE, None, HOSTILE),
            connections(&one[0], HOSTILE, &[link, ended], None),
        ] {
            let page = page.into_string();
            assert!(!page.contains("<script") && !page.contains("alert(\""), "{page}");
        }
    }

    #[test]
    fn of_several_workspaces_none_is_chosen_for_the_person() {
        let two = [Choice { id: "ws_a", name: "A" }, Choice { id: "ws_b", name: "B" }];
        let account = Account { crm_title: "HubSpot", name: None, id: "4242" };
        let page = claim(&account, &visitor("us_ada", &two), &NO).into_string();
        assert_eq!(page.matches("type=\"radio\"").count(), 2);
        assert_eq!(page.matches(" required").count(), 2);
        assert!(!page.contains("checked"));
        let page = claim(&account, &visitor("us_ada", &two[..1]), &NO).into_string();
        assert!(page.contains("type=\"hidden\" name=\"workspace_id\" value=\"ws_a\"") && page.contains("us_ada"));
    }

    #[test]
    fn every_form_carries_the_token_and_posts_to_a_path_of_ours() {
        let one = [Choice { id: "ws_a", name: "A" }];
        let account = Account { crm_title: "HubSpot", name: Some("Acme"), id: "4242" };
        let link = |connected| Link { crm: "hubspot", crm_title: "HubSpot", connected, ended: None };
        for page in [
            claim(&account, &visitor("tok", &one), &NO),
            confirm("hubspot", "HubSpot", None, &visitor("tok", &one)),
            confirm("hubspot", "HubSpot", Some((&account, &NO)), &visitor("tok", &one)),
            sign_in(Some((&account, &NO)), None),
            connections(&one[0], "tok", &[link(None), link(Some(("Acme", Some("reconnect it"))))], Some("/back")),
        ] {
            let page = page.into_string();
            let forms = page.matches("<form ").count();
            assert!(forms >= 1);
            assert_eq!(page.matches("<form method=\"post\" action=\"/").count(), forms, "{page}");
            assert_eq!(page.matches("name=\"form_token\" value=\"tok\"").count(), forms, "{page}");
        }
    }

    #[test]
    fn an_install_can_be_declined_wherever_it_is_shown_and_nowhere_else() {
        let one = [Choice { id: "ws_a", name: "A" }];
        let account = Account { crm_title: "HubSpot", name: Some("Acme"), id: "4242" };
        let who = visitor("other", &one);
        for (page, times) in [
            (claim(&account, &who, &NO), 1),
            (confirm("hubspot", "HubSpot", Some((&account, &NO)), &who), 1),
            (sign_in(Some((&account, &NO)), None), 1),
            (confirm("hubspot", "HubSpot", None, &who), 0),
            (sign_in(None, None), 0),
        ] {
            assert_eq!(page.as_str().matches(">Decline</button>").count(), times, "{page}");
            assert_eq!(page.as_str().matches("name=\"form_token\" value=\"tok\"").count(), times, "{page}");
        }
    }

    #[test]
    fn a_connection_that_the_crm_ended_says_why_and_can_be_made_again() {
        let one = Choice { id: "ws_a", name: "A" };
        let link = Link {
            crm: "hubspot",
            crm_title: "HubSpot",
            connected: None,
            ended: Some("the app was removed in HubSpot: connect again"),
        };
        let page = connections(&one, "tok", &[link], None).into_string();
        assert!(page.contains("Not connected. The app was removed in HubSpot: connect again."), "{page}");
        assert!(page.contains(">Connect</button>"));
    }
}
