//! Changes applied to a specification. Pure; the result is checked like any other specification.

use crate::error::NodeError;
use crate::model::RouteKey;
use motet_proto::node as wire;
use wire::change::Change;

/// The specification after all changes, in order.
pub(super) fn apply(
    running: &wire::ConferenceSpec,
    changes: &[wire::Change],
) -> Result<wire::ConferenceSpec, NodeError> {
    let mut spec = running.clone();
    for (index, change) in changes.iter().enumerate() {
        let at = |field: &str| format!("changes[{index}].{field}");
        match &change.change {
            Some(Change::PutLeg(leg)) => match spec.legs.iter_mut().find(|known| known.id == leg.id) {
                Some(known) => *known = leg.clone(),
                None => spec.legs.push(leg.clone()),
            },
            Some(Change::RemoveLeg(id)) => {
                if !spec.legs.iter().any(|leg| leg.id == *id) {
                    return Err(NodeError::invalid(at("remove_leg"), format!("no leg has the id '{id}'")));
                }
                spec.legs.retain(|leg| leg.id != *id);
                spec.routes.retain(|route| route.from_leg != *id && route.to_leg != *id);
            }
            Some(Change::PutRoute(route)) => {
                let key = RouteKey::from(route);
                match spec.routes.iter_mut().find(|known| RouteKey::from(&**known) == key) {
                    Some(known) => *known = route.clone(),
                    None => spec.routes.push(route.clone()),
                }
            }
            Some(Change::RemoveRoute(route)) => {
                let key = RouteKey::from(route);
                let before = spec.routes.len();
                spec.routes.retain(|known| RouteKey::from(known) != key);
                if spec.routes.len() == before {
                    return Err(NodeError::invalid(at("remove_route"), "no route is named with these ends"));
                }
            }
            Some(Change::SetRoutePolicy(policy)) => spec.route_policy = *policy,
            Some(Change::SetMetadata(metadata)) => spec.metadata = metadata.clone(),
            Some(Change::PutRecording(recording)) => {
                match spec.recordings.iter_mut().find(|known| known.id == recording.id) {
                    Some(known) => *known = recording.clone(),
                    None => spec.recordings.push(recording.clone()),
                }
            }
            Some(Change::RemoveRecording(id)) => {
                if !spec.recordings.iter().any(|known| known.id == *id) {
                    let why = format!("no recording has the id '{id}'");
                    return Err(NodeError::invalid(at("remove_recording"), why));
                }
                spec.recordings.retain(|known| known.id != *id);
            }
            None => return Err(NodeError::invalid(at("change"), "is missing")),
        }
    }
    Ok(spec)
}
