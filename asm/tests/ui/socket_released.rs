//! A socket that was found is released once, and what was learned through it is not used afterwards.
use asm::dsl::prelude::*;

#[xdp(default = Action::Pass)]
fn twice(ctx: &mut Xdp) -> Result<Action> {
    let ip = ctx.packet().read::<Ipv4>()?;
    let ends = Tuple4 { src: ip.src, dst: ip.dst, src_port: Be16::new(1), dst_port: Be16::new(2) };
    let sk = ctx.lookup_tcp(&ends)?;
    if sk.state() == TcpState::Listen {
        sk.release();
    }
    sk.release();
    Ok(Action::Pass)
}

#[tc(default = TcAction::Ok)]
fn afterwards(skb: &mut Tc) -> Result<TcAction> {
    let ends = Tuple4 { src: Be32::new(1), dst: Be32::new(2), src_port: Be16::new(1), dst_port: Be16::new(2) };
    let sk = skb.lookup_tcp(&ends)?;
    if let Some(tcp) = sk.tcp() {
        sk.release();
        return Ok(if tcp.snd_cwnd() > 10 { TcAction::Shot } else { TcAction::Ok });
    }
    sk.release();
    Ok(TcAction::Ok)
}

#[tc(default = TcAction::Ok)]
fn untested(skb: &mut Tc) -> Result<TcAction> {
    let ends = Tuple4 { src: Be32::new(1), dst: Be32::new(2), src_port: Be16::new(1), dst_port: Be16::new(2) };
    let sk = skb.lookup_tcp(&ends);
    sk.release();
    Ok(TcAction::Ok)
}

fn main() {}
