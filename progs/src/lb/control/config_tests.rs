//! Tests of `config.rs`: a table of name, TOML, message.

use super::*;

fn config(text: &str) -> Result<Config, toml::de::Error> {
    toml::from_str(text)
}

const GOOD: &str = r#"
    key = "000102030405060708090a0b0c0d0e0f"
    source = "10.10.1.1"
    balancers = ["10.10.1.1"]
    [[vip]]
    address = "10.10.0.5"
    port = 80
    protocol = "tcp"
    reals = [{ address = "10.10.1.2", weight = 3 }, { address = "10.10.1.3" }]
"#;

#[test]
fn the_example_is_read() {
    let config = config(GOOD).unwrap();
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.hash_key(), HashKey([0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f]));
    assert_eq!(config.vip[0].reals[1].weight, 1, "weight defaults to 1");
    let again: Config = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    assert!(!format!("{config:?}").contains("0405"), "the key is not printed");
}

#[test]
fn what_serde_refuses() {
    for (name, text, want) in [
        ("unknown field", "vips = []", "unknown field `vips`"),
        ("protocol", &GOOD.replace("tcp", "sctp"), "unknown variant `sctp`, expected `tcp` or `udp`"),
        ("port", &GOOD.replace("80", "65536"), "65536"),
        ("address", &GOOD.replace("10.10.0.5", "10.10.0.555"), "invalid IPv4 address syntax"),
        ("no reals", &GOOD.replace("reals", "#"), "missing field `reals`"),
        ("field of a real", &GOOD.replace("weight", "wait"), "unknown field `wait`"),
        ("negative weight", &GOOD.replace("= 3", "= -3"), "-3"),
        ("short key", &GOOD.replace("0001", ""), "32 hexadecimal digits (it has 28 characters)"),
        ("not hex", &GOOD.replace("0001", "+0xx"), "32 hexadecimal digits"),
    ] {
        let error = config(text).expect_err(name).to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

#[test]
fn what_validation_refuses() {
    let twice = format!("{GOOD}{}", GOOD.split_once("[[vip]]").map(|(_, vip)| format!("[[vip]]{vip}")).unwrap());
    for (name, text, want) in [
        (
            "no reals",
            GOOD.replace("[{ address = \"10.10.1.2\", weight = 3 }, { address = \"10.10.1.3\" }]", "[]"),
            "VIP 10.10.0.5:80/tcp has no real servers",
        ),
        (
            "weights zero",
            GOOD.replace("weight = 3", "weight = 0").replace("\"10.10.1.3\"", "\"10.10.1.3\", weight = 0"),
            "every real server of VIP 10.10.0.5:80/tcp has weight 0",
        ),
        ("duplicate VIP", twice, "VIP 10.10.0.5:80/tcp is defined twice (lb.vip[0] and lb.vip[1])"),
        ("duplicate real", GOOD.replace("1.3", "1.2"), "lists real server 10.10.1.2 twice"),
        (
            "real is VIP",
            GOOD.replace("10.10.1.3", "10.10.0.5"),
            "has 10.10.0.5 as a real server, which is itself a VIP",
        ),
        (
            "loopback real",
            GOOD.replace("10.10.1.3", "127.0.0.1"),
            "127.0.0.1 cannot be a real server: it is a loopback address",
        ),
        ("multicast VIP", GOOD.replace("10.10.0.5", "224.0.0.5"), "224.0.0.5 cannot be a VIP"),
        ("weight", GOOD.replace("= 3", "= 70000"), "weight 70000 of real server 10.10.1.2 is over 65535"),
        (
            "source",
            GOOD.replace("source = \"10.10.1.1\"", "source = \"0.0.0.0\""),
            "lb.source has 0.0.0.0, which is the unspecified address",
        ),
    ] {
        let errors = config(&text).unwrap().validate().expect_err(name);
        let text = errors[0].to_string();
        assert!(text.contains(want), "{name}: {text}");
    }
}

#[test]
fn every_mistake_is_listed() {
    let text = GOOD.replace("weight = 3", "weight = 70000").replace("10.10.1.3", "10.10.1.2");
    assert_eq!(config(&text).unwrap().validate().unwrap_err().len(), 2);
}
