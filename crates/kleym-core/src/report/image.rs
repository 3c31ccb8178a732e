//! Images as they are written in pods and as the kubelet reports them: which container is meant by one.

use crate::spire::Container;

/// The registry of an image that names none.
const REGISTRY: &str = "docker.io";

/// An image as the runtime would write it: with its registry, and with the tag that counts where there is none.
fn whole(image: &str) -> String {
    let image = image.split_once("://").map_or(image, |(_, image)| image);
    let registry = image.split_once('/').map(|(first, _)| first);
    let named = registry.is_some_and(|first| first.contains(['.', ':']) || first == "localhost");
    let path = match (named, registry) {
        (true, _) => image.to_owned(),
        (false, Some(_)) => format!("{REGISTRY}/{image}"),
        (false, None) => format!("{REGISTRY}/library/{image}"),
    };
    if path.contains('@') || tag(&path).is_some() { path } else { format!("{path}:latest") }
}

/// Registry and path.
fn repository(image: &str) -> String {
    let whole = whole(image);
    let name = whole.split('@').next().unwrap_or_default();
    match tag(name) {
        Some(tag) => name[..name.len() - tag.len() - 1].to_owned(),
        None => name.to_owned(),
    }
}

fn last(image: &str) -> &str {
    image.rsplit('/').next().unwrap_or_default()
}

fn tag(image: &str) -> Option<&str> {
    last(image).split('@').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag)
}

/// The digest of what the kubelet reports as ID.
pub fn digest(id: &str) -> Option<&str> {
    let digest = id.rsplit('@').next().unwrap_or_default();
    digest.starts_with("sha256:").then_some(digest)
}

/// Whether an image has the tag that everybody moves.
pub fn is_latest(image: &str) -> bool {
    !image.contains('@') && tag(image).is_none_or(|tag| tag == "latest")
}

/// Whether two images are of one repository.
pub fn of_one_repository(one: &str, other: &str) -> bool {
    repository(one) == repository(other)
}

/// The containers that an image is meant for: those of whose pods it is the image, else of its repository, else of its name and
/// tag in another registry, a mirror say, else of its name alone.
pub fn meant<'a>(reference: &str, containers: &[&'a Container]) -> Vec<&'a Container> {
    let reported = |one: &Container, is: &dyn Fn(&str) -> bool| {
        one.running.as_ref().is_some_and(|running| is(&running.image) || is(&running.id))
    };
    let (written, kept) = (whole(reference), repository(reference));
    let asked = |one: &Container| whole(&one.image) == written;
    let of_repository =
        |one: &Container| repository(&one.image) == kept || reported(one, &|image| repository(image) == kept);
    let mirrored = |one: &Container| reported(one, &|image| last(image) == last(reference));
    let called = |one: &Container| {
        let name = |image: &str| last(&repository(image)).to_owned();
        name(&one.image) == name(reference)
    };
    let ways: [&dyn Fn(&Container) -> bool; 4] = [&asked, &of_repository, &mirrored, &called];
    let each = ways.into_iter().map(|is| containers.iter().copied().filter(|one| is(one)).collect());
    each.into_iter().find(|found: &Vec<_>| !found.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spire::{Access, ContainerKind, Image};

    #[test]
    fn images_are_of_one_repository_whatever_their_tag_and_digest_are() {
        for (one, other, same) in [
            ("vllm/vllm:v1", "docker.io/vllm/vllm:v2", true),
            ("vllm:v1", "docker.io/library/vllm@sha256:0", true),
            ("docker-pullable://r.example/vllm@sha256:0", "r.example/vllm", true),
            ("localhost/vllm:v1", "vllm:v1", false),
            ("r.example:5000/vllm", "r.example/vllm", false),
            ("r.example:5000/vllm", "r.example:5000/vllm:v1@sha256:0", true),
            ("a/vllm", "b/vllm", false),
        ] {
            assert_eq!(of_one_repository(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn a_tag_that_moves_is_known_and_a_digest_has_none() {
        for (image, latest) in [
            ("vllm", true),
            ("r:5000/vllm", true),
            ("vllm:latest", true),
            ("vllm:v1", false),
            ("vllm@sha256:0", false),
            ("vllm:latest@sha256:0", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
        assert_eq!(digest("docker.io/vllm@sha256:0"), Some("sha256:0"));
        assert_eq!(digest("sha256:0"), Some("sha256:0"));
        assert_eq!(digest("vllm:v1"), None);
    }

    fn container(name: &str, image: &str, reported: &str) -> Container {
        let running = Image { image: reported.into(), id: format!("{reported}@sha256:0").into() };
        Container {
            name: name.into(),
            kind: ContainerKind::Regular,
            image: image.into(),
            running: (!reported.is_empty()).then_some(running),
            access: Access::Untold,
        }
    }

    #[test]
    fn the_container_that_comes_nearest_is_meant_and_no_other() {
        let names = |reference: &str, containers: &[Container]| -> String {
            let containers: Vec<&Container> = containers.iter().collect();
            meant(reference, &containers).iter().map(|one| &*one.name).collect::<Vec<_>>().join(" ")
        };
        let pod = [
            container("vllm", "vllm/vllm:v1", "docker.io/vllm/vllm:latest"),
            container("old", "vllm/vllm:v0", "docker.io/vllm/vllm:v0"),
            container("relay", "r.example/relay:1", "mirror.example/relay:1"),
        ];
        for (reference, expected) in [
            // What a pod asks for comes first,
            ("docker.io/vllm/vllm:v1", "vllm"),
            // then all of the repository,
            ("vllm/vllm:v2", "vllm old"),
            ("r.example/relay@sha256:1", "relay"),
            // then a mirror, then the name.
            ("other.example/relay:1", "relay"),
            ("other.example/relay:2", "relay"),
            ("other.example/nothing:1", ""),
        ] {
            assert_eq!(names(reference, &pod), expected, "{reference}");
        }
    }
}
