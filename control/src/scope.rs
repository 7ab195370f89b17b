//! Control in the name of a user domain: for who is in this process, and for calls with [`USER_DOMAIN`].
//!
//! The embedding platform authenticates and says in whose name a call comes. What that means is decided in one place,
//! [`crate::conference::Request::Scoped`].

use crate::conference::{Request, Response, event_for};
use crate::peers::HOP;
use crate::refusal::Refusal;
use crate::runtime::Control;
use motet_proto::USER_DOMAIN;
use motet_proto::conference::{ConferenceEvent, ConferenceEventKind};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request as Call, Status};

/// A handle on the running core in the name of one user domain (source 000 section 3.2): it sees and changes that
/// domain's conferences, bookings, call records and events, and is answered as if there were no others.
#[derive(Clone)]
pub struct DomainControl {
    control: Control,
    user_domain: String,
}

impl Control {
    /// The same core, asked in the name of the user domain with this MOID. An empty one is refused at each request.
    pub fn in_the_name_of(&self, user_domain: impl Into<String>) -> DomainControl {
        DomainControl { control: self.clone(), user_domain: user_domain.into() }
    }
}

impl DomainControl {
    /// Asks for something and waits for the answer.
    ///
    /// # Errors
    ///
    /// As of [`Control::request`]; NOT_FOUND for what is another domain's, PERMISSION_DENIED for what is for operators.
    pub async fn request(&self, request: Request) -> Result<Response, Refusal> {
        let (user_domain, request) = (self.user_domain.clone(), Box::new(request));
        self.control.request(Request::Scoped { user_domain, request }).await
    }

    /// Events of the domain's conferences from now on. LAGGED, without a conference: some were lost.
    pub fn events(&self) -> impl Stream<Item = ConferenceEvent> + Send + use<> {
        events(&self.control, Some(self.user_domain.clone()))
    }
}

/// Events as they are told in the name of a user domain; none: all.
pub(crate) fn events(
    control: &Control,
    user_domain: Option<String>,
) -> impl Stream<Item = ConferenceEvent> + Send + use<> {
    BroadcastStream::new(control.subscribe()).filter_map(move |event| match (event, &user_domain) {
        (Ok(event), None) => Some(event),
        (Ok(event), Some(user_domain)) => event_for(user_domain, event),
        (Err(BroadcastStreamRecvError::Lagged(lost)), scope) => {
            // How many were lost counts those of all domains.
            let lost = if scope.is_some() { String::new() } else { format!("{lost} ") };
            let message = format!("this watcher was too slow and lost {lost}events; read the list again");
            let kind = ConferenceEventKind::Lagged.into();
            Some(ConferenceEvent { kind, message, ..ConferenceEvent::default() })
        }
    })
}

/// In whose name a call comes; none: the platform's own.
///
/// # Errors
///
/// A value that names no domain is refused: whoever sets it in front of control does it wrong, and the call must not
/// see everything because of that.
pub(crate) fn of(metadata: &MetadataMap) -> Result<Option<String>, Refusal> {
    let mut values = metadata.get_all(USER_DOMAIN).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let named = first.to_str().unwrap_or_default();
    let one = values.next().is_none();
    if !one || named.is_empty() || named.len() > 64 || !named.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = format!(
            "the metadata {USER_DOMAIN} must be there once, with a MOID of 1 to 64 printable characters"
        );
        return Err(Refusal::plain(Code::InvalidArgument, why));
    }
    Ok(Some(named.to_owned()))
}

/// Asks the core in the name that the call comes in, and says whether another control process has passed it on.
pub(crate) async fn ask<T>(
    control: &Control,
    call: Call<T>,
    request: impl FnOnce(T) -> Request,
) -> Result<Response, Status> {
    let user_domain = of(call.metadata())?;
    let passed_on = call.metadata().contains_key(HOP);
    let request = request(call.into_inner());
    let request = match user_domain {
        Some(user_domain) => Request::Scoped { user_domain, request: Box::new(request) },
        None => request,
    };
    Ok(if passed_on { control.forwarded(request).await? } else { control.request(request).await? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CssOptions;
    use motet_proto::conference::conference_client::ConferenceClient;
    use motet_proto::conference::{
        ConferenceType, CreateRequest, HistoryRequest, ListRequest, ListResponse, WatchEventsRequest,
    };
    use motet_proto::registry::ListNodesRequest;
    use motet_proto::registry::node_registry_client::NodeRegistryClient;
    use tonic::metadata::MetadataValue;

    fn named(values: &[&str]) -> Result<Option<String>, Refusal> {
        let mut metadata = MetadataMap::new();
        for value in values {
            metadata.append(USER_DOMAIN, MetadataValue::try_from(*value).expect("a value"));
        }
        of(&metadata)
    }

    fn in_the_name_of<T>(user_domain: &str, message: T) -> Call<T> {
        let mut call = Call::new(message);
        call.metadata_mut().insert(USER_DOMAIN, MetadataValue::try_from(user_domain).expect("a value"));
        call
    }

    #[tokio::test]
    async fn calls_and_events_are_those_of_their_domain() {
        let options = CssOptions {
            listen: "127.0.0.1:0".parse().expect("an address"),
            metrics: Some("off".parse().expect("off")),
            store: "embedded".into(),
            ..CssOptions::default()
        };
        let css = crate::start(options).await.expect("it starts");
        let mut client =
            ConferenceClient::connect(format!("http://{}", css.address())).await.expect("it listens");
        let mut told =
            client.watch_events(in_the_name_of("u2", WatchEventsRequest::default())).await.expect("events");
        let mut here = std::pin::pin!(css.control().in_the_name_of("u2").events());
        let mut made = Vec::new();
        for domain in ["u1", "u2"] {
            let room = CreateRequest { r#type: ConferenceType::Virtual.into(), ..CreateRequest::default() };
            let room = client.create(in_the_name_of(domain, room)).await.expect("a room").into_inner();
            assert_eq!(room.user_domain, domain);
            made.push(room.id);
        }
        let list = || ListRequest { booked: true, ..ListRequest::default() };
        let ids = |list: ListResponse| list.conferences.into_iter().map(|info| info.id).collect::<Vec<_>>();
        let own = client.list(in_the_name_of("u2", list())).await.expect("a list").into_inner();
        assert_eq!(ids(own), made[1..], "its own");
        let all = client.list(list()).await.expect("a list").into_inner();
        assert_eq!(ids(all).len(), 2, "a call in no name sees all");
        for (code, call) in [
            (Code::NotFound, in_the_name_of("u2", HistoryRequest { conference: made[0].clone() })),
            (Code::InvalidArgument, in_the_name_of("", HistoryRequest { conference: made[0].clone() })),
        ] {
            assert_eq!(client.history(call).await.map(drop).map_err(|status| status.code()), Err(code));
        }
        let watch = WatchEventsRequest { conference: made[0].clone() };
        let hidden = client.watch_events(in_the_name_of("u2", watch)).await.map(drop);
        assert_eq!(hidden.map_err(|status| status.code()), Err(Code::NotFound));
        // The first that both hear of is their own, though another domain was first.
        let event = told.get_mut().message().await.expect("an event").expect("an event");
        let same = here.next().await.expect("an event");
        assert_eq!((&event.conference, event.sequence, &same), (&made[1], 0, &event));
        let mut nodes =
            NodeRegistryClient::connect(format!("http://{}", css.address())).await.expect("it listens");
        let refused = nodes.list_nodes(in_the_name_of("u2", ListNodesRequest {})).await.map(drop);
        assert_eq!(refused.map_err(|status| status.code()), Err(Code::PermissionDenied));
        css.shutdown().await;
    }

    #[test]
    fn a_call_comes_in_one_name_or_in_none() {
        assert_eq!(named(&[]), Ok(None));
        assert_eq!(named(&["u1"]), Ok(Some("u1".to_owned())));
        let long = "u".repeat(65);
        for wrong in [vec![""], vec!["u1", "u2"], vec!["u1", "u1"], vec!["a b"], vec![long.as_str()]] {
            assert_eq!(
                named(&wrong).map_err(|refusal| refusal.code),
                Err(Code::InvalidArgument),
                "{wrong:?}"
            );
        }
    }
}
